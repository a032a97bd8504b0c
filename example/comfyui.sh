#!/bin/sh
# Starts ComfyUI with its attention answered by sageattention, after checking that the wheel fits this machine.
# ComfyUI's log then says "Using sage attention".
set -eu
: "${COMFYUI:?set COMFYUI to the folder of your ComfyUI checkout}"
: "${PYTHON:=python3}"
"$PYTHON" -m sageattention doctor
exec "$PYTHON" "$COMFYUI/main.py" --use-sage-attention "$@"
