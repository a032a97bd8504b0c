#!/bin/sh
# Starts ComfyUI with its attention answered by sageattention, after checking that the wheel fits this machine and that
# ComfyUI uses it. ComfyUI's log then says "Using sage attention".
set -eu
: "${COMFYUI:?set COMFYUI to the folder of your ComfyUI checkout}"
: "${PYTHON:=python3}"
# Not the package in the folder that this is called from, as in a checkout of the sources: the installed one.
PYTHONSAFEPATH=1 "$PYTHON" -m sageattention doctor
"$PYTHON" "$(dirname "$0")/comfyui_check.py" "$COMFYUI"
exec "$PYTHON" "$COMFYUI/main.py" --use-sage-attention "$@"
