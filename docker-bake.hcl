# Rendered from matrix.toml by `python -m buildtool render`.
#
#   docker buildx bake            the cell of set "container"
#   docker buildx bake linux      the Linux cells of set "release"
#   docker buildx bake test-linux the same, each installed and imported in a stage without the sources
#
# Groups: one per set (set-…), PyTorch (torch-2_8) and CUDA version (cuda-12_8). Wheels appear in dist/.

# Type of a shared build cache, such as gha; each cell has a scope of its own in it. Empty: none.
variable "CACHE" {
  default = ""
}

group "default" {
  targets = [
    "sageattention-280_129-cp312-linux_x86_64",
  ]
}

group "linux" {
  targets = [
    "sageattention-270_128-cp312-linux_x86_64",
    "sageattention-280_128-cp312-linux_x86_64",
    "sageattention-290_128-cp312-linux_x86_64",
  ]
}

group "set-container" {
  targets = [
    "sageattention-280_129-cp312-linux_x86_64",
  ]
}

group "set-release" {
  targets = [
    "sageattention-270_128-cp312-linux_x86_64",
    "sageattention-280_128-cp312-linux_x86_64",
    "sageattention-290_128-cp312-linux_x86_64",
  ]
}

group "set-h200" {
  targets = [
    "sageattention-2110_130-cp312-linux_x86_64",
  ]
}

group "set-all" {
  targets = [
    "sageattention-250_121-cp39-linux_x86_64",
    "sageattention-250_121-cp310-linux_x86_64",
    "sageattention-250_121-cp311-linux_x86_64",
    "sageattention-250_121-cp312-linux_x86_64",
    "sageattention-250_124-cp39-linux_x86_64",
    "sageattention-250_124-cp310-linux_x86_64",
    "sageattention-250_124-cp311-linux_x86_64",
    "sageattention-250_124-cp312-linux_x86_64",
    "sageattention-260_124-cp39-linux_x86_64",
    "sageattention-260_124-cp310-linux_x86_64",
    "sageattention-260_124-cp311-linux_x86_64",
    "sageattention-260_124-cp312-linux_x86_64",
    "sageattention-260_124-cp313-linux_x86_64",
    "sageattention-260_126-cp39-linux_x86_64",
    "sageattention-260_126-cp310-linux_x86_64",
    "sageattention-260_126-cp311-linux_x86_64",
    "sageattention-260_126-cp312-linux_x86_64",
    "sageattention-260_126-cp313-linux_x86_64",
    "sageattention-270_126-cp39-linux_x86_64",
    "sageattention-270_126-cp310-linux_x86_64",
    "sageattention-270_126-cp311-linux_x86_64",
    "sageattention-270_126-cp312-linux_x86_64",
    "sageattention-270_126-cp313-linux_x86_64",
    "sageattention-270_128-cp39-linux_x86_64",
    "sageattention-270_128-cp310-linux_x86_64",
    "sageattention-270_128-cp311-linux_x86_64",
    "sageattention-270_128-cp312-linux_x86_64",
    "sageattention-270_128-cp313-linux_x86_64",
    "sageattention-280_126-cp39-linux_x86_64",
    "sageattention-280_126-cp310-linux_x86_64",
    "sageattention-280_126-cp311-linux_x86_64",
    "sageattention-280_126-cp312-linux_x86_64",
    "sageattention-280_126-cp313-linux_x86_64",
    "sageattention-280_128-cp39-linux_x86_64",
    "sageattention-280_128-cp310-linux_x86_64",
    "sageattention-280_128-cp311-linux_x86_64",
    "sageattention-280_128-cp312-linux_x86_64",
    "sageattention-280_128-cp313-linux_x86_64",
    "sageattention-280_129-cp39-linux_x86_64",
    "sageattention-280_129-cp310-linux_x86_64",
    "sageattention-280_129-cp311-linux_x86_64",
    "sageattention-280_129-cp312-linux_x86_64",
    "sageattention-280_129-cp313-linux_x86_64",
    "sageattention-290_126-cp310-linux_x86_64",
    "sageattention-290_126-cp311-linux_x86_64",
    "sageattention-290_126-cp312-linux_x86_64",
    "sageattention-290_126-cp313-linux_x86_64",
    "sageattention-290_126-cp314-linux_x86_64",
    "sageattention-290_128-cp310-linux_x86_64",
    "sageattention-290_128-cp311-linux_x86_64",
    "sageattention-290_128-cp312-linux_x86_64",
    "sageattention-290_128-cp313-linux_x86_64",
    "sageattention-290_128-cp314-linux_x86_64",
    "sageattention-290_130-cp310-linux_x86_64",
    "sageattention-290_130-cp311-linux_x86_64",
    "sageattention-290_130-cp312-linux_x86_64",
    "sageattention-290_130-cp313-linux_x86_64",
    "sageattention-290_130-cp314-linux_x86_64",
    "sageattention-2100_126-cp310-linux_x86_64",
    "sageattention-2100_126-cp311-linux_x86_64",
    "sageattention-2100_126-cp312-linux_x86_64",
    "sageattention-2100_126-cp313-linux_x86_64",
    "sageattention-2100_126-cp314-linux_x86_64",
    "sageattention-2100_128-cp310-linux_x86_64",
    "sageattention-2100_128-cp311-linux_x86_64",
    "sageattention-2100_128-cp312-linux_x86_64",
    "sageattention-2100_128-cp313-linux_x86_64",
    "sageattention-2100_128-cp314-linux_x86_64",
    "sageattention-2100_130-cp310-linux_x86_64",
    "sageattention-2100_130-cp311-linux_x86_64",
    "sageattention-2100_130-cp312-linux_x86_64",
    "sageattention-2100_130-cp313-linux_x86_64",
    "sageattention-2100_130-cp314-linux_x86_64",
    "sageattention-2110_126-cp310-linux_x86_64",
    "sageattention-2110_126-cp311-linux_x86_64",
    "sageattention-2110_126-cp312-linux_x86_64",
    "sageattention-2110_126-cp313-linux_x86_64",
    "sageattention-2110_126-cp314-linux_x86_64",
    "sageattention-2110_128-cp310-linux_x86_64",
    "sageattention-2110_128-cp311-linux_x86_64",
    "sageattention-2110_128-cp312-linux_x86_64",
    "sageattention-2110_128-cp313-linux_x86_64",
    "sageattention-2110_128-cp314-linux_x86_64",
    "sageattention-2110_130-cp310-linux_x86_64",
    "sageattention-2110_130-cp311-linux_x86_64",
    "sageattention-2110_130-cp312-linux_x86_64",
    "sageattention-2110_130-cp313-linux_x86_64",
    "sageattention-2110_130-cp314-linux_x86_64",
    "sageattention-2120_126-cp310-linux_x86_64",
    "sageattention-2120_126-cp311-linux_x86_64",
    "sageattention-2120_126-cp312-linux_x86_64",
    "sageattention-2120_126-cp313-linux_x86_64",
    "sageattention-2120_126-cp314-linux_x86_64",
    "sageattention-2120_130-cp310-linux_x86_64",
    "sageattention-2120_130-cp311-linux_x86_64",
    "sageattention-2120_130-cp312-linux_x86_64",
    "sageattention-2120_130-cp313-linux_x86_64",
    "sageattention-2120_130-cp314-linux_x86_64",
    "sageattention-2120_132-cp310-linux_x86_64",
    "sageattention-2120_132-cp311-linux_x86_64",
    "sageattention-2120_132-cp312-linux_x86_64",
    "sageattention-2120_132-cp313-linux_x86_64",
    "sageattention-2120_132-cp314-linux_x86_64",
    "sageattention-2130_126-cp310-linux_x86_64",
    "sageattention-2130_126-cp311-linux_x86_64",
    "sageattention-2130_126-cp312-linux_x86_64",
    "sageattention-2130_126-cp313-linux_x86_64",
    "sageattention-2130_126-cp314-linux_x86_64",
    "sageattention-2130_130-cp310-linux_x86_64",
    "sageattention-2130_130-cp311-linux_x86_64",
    "sageattention-2130_130-cp312-linux_x86_64",
    "sageattention-2130_130-cp313-linux_x86_64",
    "sageattention-2130_130-cp314-linux_x86_64",
    "sageattention-2130_132-cp310-linux_x86_64",
    "sageattention-2130_132-cp311-linux_x86_64",
    "sageattention-2130_132-cp312-linux_x86_64",
    "sageattention-2130_132-cp313-linux_x86_64",
    "sageattention-2130_132-cp314-linux_x86_64",
    "sageattention-2140_126-cp310-linux_x86_64",
    "sageattention-2140_126-cp311-linux_x86_64",
    "sageattention-2140_126-cp312-linux_x86_64",
    "sageattention-2140_126-cp313-linux_x86_64",
    "sageattention-2140_126-cp314-linux_x86_64",
    "sageattention-2140_130-cp310-linux_x86_64",
    "sageattention-2140_130-cp311-linux_x86_64",
    "sageattention-2140_130-cp312-linux_x86_64",
    "sageattention-2140_130-cp313-linux_x86_64",
    "sageattention-2140_130-cp314-linux_x86_64",
    "sageattention-2140_132-cp310-linux_x86_64",
    "sageattention-2140_132-cp311-linux_x86_64",
    "sageattention-2140_132-cp312-linux_x86_64",
    "sageattention-2140_132-cp313-linux_x86_64",
    "sageattention-2140_132-cp314-linux_x86_64",
  ]
}

group "set-manylinux" {
  targets = [
    "sageattention-270_128-cp312-manylinux_2_28_x86_64",
    "sageattention-280_128-cp312-manylinux_2_28_x86_64",
    "sageattention-290_128-cp312-manylinux_2_28_x86_64",
  ]
}

group "torch-2_5" {
  targets = [
    "sageattention-250_121-cp39-linux_x86_64",
    "sageattention-250_121-cp310-linux_x86_64",
    "sageattention-250_121-cp311-linux_x86_64",
    "sageattention-250_121-cp312-linux_x86_64",
    "sageattention-250_124-cp39-linux_x86_64",
    "sageattention-250_124-cp310-linux_x86_64",
    "sageattention-250_124-cp311-linux_x86_64",
    "sageattention-250_124-cp312-linux_x86_64",
  ]
}

group "cuda-12_1" {
  targets = [
    "sageattention-250_121-cp39-linux_x86_64",
    "sageattention-250_121-cp310-linux_x86_64",
    "sageattention-250_121-cp311-linux_x86_64",
    "sageattention-250_121-cp312-linux_x86_64",
  ]
}

group "cuda-12_4" {
  targets = [
    "sageattention-250_124-cp39-linux_x86_64",
    "sageattention-250_124-cp310-linux_x86_64",
    "sageattention-250_124-cp311-linux_x86_64",
    "sageattention-250_124-cp312-linux_x86_64",
    "sageattention-260_124-cp39-linux_x86_64",
    "sageattention-260_124-cp310-linux_x86_64",
    "sageattention-260_124-cp311-linux_x86_64",
    "sageattention-260_124-cp312-linux_x86_64",
    "sageattention-260_124-cp313-linux_x86_64",
  ]
}

group "torch-2_6" {
  targets = [
    "sageattention-260_124-cp39-linux_x86_64",
    "sageattention-260_124-cp310-linux_x86_64",
    "sageattention-260_124-cp311-linux_x86_64",
    "sageattention-260_124-cp312-linux_x86_64",
    "sageattention-260_124-cp313-linux_x86_64",
    "sageattention-260_126-cp39-linux_x86_64",
    "sageattention-260_126-cp310-linux_x86_64",
    "sageattention-260_126-cp311-linux_x86_64",
    "sageattention-260_126-cp312-linux_x86_64",
    "sageattention-260_126-cp313-linux_x86_64",
  ]
}

group "cuda-12_6" {
  targets = [
    "sageattention-260_126-cp39-linux_x86_64",
    "sageattention-260_126-cp310-linux_x86_64",
    "sageattention-260_126-cp311-linux_x86_64",
    "sageattention-260_126-cp312-linux_x86_64",
    "sageattention-260_126-cp313-linux_x86_64",
    "sageattention-270_126-cp39-linux_x86_64",
    "sageattention-270_126-cp310-linux_x86_64",
    "sageattention-270_126-cp311-linux_x86_64",
    "sageattention-270_126-cp312-linux_x86_64",
    "sageattention-270_126-cp313-linux_x86_64",
    "sageattention-280_126-cp39-linux_x86_64",
    "sageattention-280_126-cp310-linux_x86_64",
    "sageattention-280_126-cp311-linux_x86_64",
    "sageattention-280_126-cp312-linux_x86_64",
    "sageattention-280_126-cp313-linux_x86_64",
    "sageattention-290_126-cp310-linux_x86_64",
    "sageattention-290_126-cp311-linux_x86_64",
    "sageattention-290_126-cp312-linux_x86_64",
    "sageattention-290_126-cp313-linux_x86_64",
    "sageattention-290_126-cp314-linux_x86_64",
    "sageattention-2100_126-cp310-linux_x86_64",
    "sageattention-2100_126-cp311-linux_x86_64",
    "sageattention-2100_126-cp312-linux_x86_64",
    "sageattention-2100_126-cp313-linux_x86_64",
    "sageattention-2100_126-cp314-linux_x86_64",
    "sageattention-2110_126-cp310-linux_x86_64",
    "sageattention-2110_126-cp311-linux_x86_64",
    "sageattention-2110_126-cp312-linux_x86_64",
    "sageattention-2110_126-cp313-linux_x86_64",
    "sageattention-2110_126-cp314-linux_x86_64",
    "sageattention-2120_126-cp310-linux_x86_64",
    "sageattention-2120_126-cp311-linux_x86_64",
    "sageattention-2120_126-cp312-linux_x86_64",
    "sageattention-2120_126-cp313-linux_x86_64",
    "sageattention-2120_126-cp314-linux_x86_64",
    "sageattention-2130_126-cp310-linux_x86_64",
    "sageattention-2130_126-cp311-linux_x86_64",
    "sageattention-2130_126-cp312-linux_x86_64",
    "sageattention-2130_126-cp313-linux_x86_64",
    "sageattention-2130_126-cp314-linux_x86_64",
    "sageattention-2140_126-cp310-linux_x86_64",
    "sageattention-2140_126-cp311-linux_x86_64",
    "sageattention-2140_126-cp312-linux_x86_64",
    "sageattention-2140_126-cp313-linux_x86_64",
    "sageattention-2140_126-cp314-linux_x86_64",
  ]
}

group "torch-2_7" {
  targets = [
    "sageattention-270_126-cp39-linux_x86_64",
    "sageattention-270_126-cp310-linux_x86_64",
    "sageattention-270_126-cp311-linux_x86_64",
    "sageattention-270_126-cp312-linux_x86_64",
    "sageattention-270_126-cp313-linux_x86_64",
    "sageattention-270_128-cp39-linux_x86_64",
    "sageattention-270_128-cp310-linux_x86_64",
    "sageattention-270_128-cp311-linux_x86_64",
    "sageattention-270_128-cp312-linux_x86_64",
    "sageattention-270_128-cp312-manylinux_2_28_x86_64",
    "sageattention-270_128-cp313-linux_x86_64",
  ]
}

group "cuda-12_8" {
  targets = [
    "sageattention-270_128-cp39-linux_x86_64",
    "sageattention-270_128-cp310-linux_x86_64",
    "sageattention-270_128-cp311-linux_x86_64",
    "sageattention-270_128-cp312-linux_x86_64",
    "sageattention-270_128-cp312-manylinux_2_28_x86_64",
    "sageattention-270_128-cp313-linux_x86_64",
    "sageattention-280_128-cp39-linux_x86_64",
    "sageattention-280_128-cp310-linux_x86_64",
    "sageattention-280_128-cp311-linux_x86_64",
    "sageattention-280_128-cp312-linux_x86_64",
    "sageattention-280_128-cp312-manylinux_2_28_x86_64",
    "sageattention-280_128-cp313-linux_x86_64",
    "sageattention-290_128-cp310-linux_x86_64",
    "sageattention-290_128-cp311-linux_x86_64",
    "sageattention-290_128-cp312-linux_x86_64",
    "sageattention-290_128-cp312-manylinux_2_28_x86_64",
    "sageattention-290_128-cp313-linux_x86_64",
    "sageattention-290_128-cp314-linux_x86_64",
    "sageattention-2100_128-cp310-linux_x86_64",
    "sageattention-2100_128-cp311-linux_x86_64",
    "sageattention-2100_128-cp312-linux_x86_64",
    "sageattention-2100_128-cp313-linux_x86_64",
    "sageattention-2100_128-cp314-linux_x86_64",
    "sageattention-2110_128-cp310-linux_x86_64",
    "sageattention-2110_128-cp311-linux_x86_64",
    "sageattention-2110_128-cp312-linux_x86_64",
    "sageattention-2110_128-cp313-linux_x86_64",
    "sageattention-2110_128-cp314-linux_x86_64",
  ]
}

group "torch-2_8" {
  targets = [
    "sageattention-280_126-cp39-linux_x86_64",
    "sageattention-280_126-cp310-linux_x86_64",
    "sageattention-280_126-cp311-linux_x86_64",
    "sageattention-280_126-cp312-linux_x86_64",
    "sageattention-280_126-cp313-linux_x86_64",
    "sageattention-280_128-cp39-linux_x86_64",
    "sageattention-280_128-cp310-linux_x86_64",
    "sageattention-280_128-cp311-linux_x86_64",
    "sageattention-280_128-cp312-linux_x86_64",
    "sageattention-280_128-cp312-manylinux_2_28_x86_64",
    "sageattention-280_128-cp313-linux_x86_64",
    "sageattention-280_129-cp39-linux_x86_64",
    "sageattention-280_129-cp310-linux_x86_64",
    "sageattention-280_129-cp311-linux_x86_64",
    "sageattention-280_129-cp312-linux_x86_64",
    "sageattention-280_129-cp313-linux_x86_64",
  ]
}

group "cuda-12_9" {
  targets = [
    "sageattention-280_129-cp39-linux_x86_64",
    "sageattention-280_129-cp310-linux_x86_64",
    "sageattention-280_129-cp311-linux_x86_64",
    "sageattention-280_129-cp312-linux_x86_64",
    "sageattention-280_129-cp313-linux_x86_64",
  ]
}

group "torch-2_9" {
  targets = [
    "sageattention-290_126-cp310-linux_x86_64",
    "sageattention-290_126-cp311-linux_x86_64",
    "sageattention-290_126-cp312-linux_x86_64",
    "sageattention-290_126-cp313-linux_x86_64",
    "sageattention-290_126-cp314-linux_x86_64",
    "sageattention-290_128-cp310-linux_x86_64",
    "sageattention-290_128-cp311-linux_x86_64",
    "sageattention-290_128-cp312-linux_x86_64",
    "sageattention-290_128-cp312-manylinux_2_28_x86_64",
    "sageattention-290_128-cp313-linux_x86_64",
    "sageattention-290_128-cp314-linux_x86_64",
    "sageattention-290_130-cp310-linux_x86_64",
    "sageattention-290_130-cp311-linux_x86_64",
    "sageattention-290_130-cp312-linux_x86_64",
    "sageattention-290_130-cp313-linux_x86_64",
    "sageattention-290_130-cp314-linux_x86_64",
  ]
}

group "cuda-13_0" {
  targets = [
    "sageattention-290_130-cp310-linux_x86_64",
    "sageattention-290_130-cp311-linux_x86_64",
    "sageattention-290_130-cp312-linux_x86_64",
    "sageattention-290_130-cp313-linux_x86_64",
    "sageattention-290_130-cp314-linux_x86_64",
    "sageattention-2100_130-cp310-linux_x86_64",
    "sageattention-2100_130-cp311-linux_x86_64",
    "sageattention-2100_130-cp312-linux_x86_64",
    "sageattention-2100_130-cp313-linux_x86_64",
    "sageattention-2100_130-cp314-linux_x86_64",
    "sageattention-2110_130-cp310-linux_x86_64",
    "sageattention-2110_130-cp311-linux_x86_64",
    "sageattention-2110_130-cp312-linux_x86_64",
    "sageattention-2110_130-cp313-linux_x86_64",
    "sageattention-2110_130-cp314-linux_x86_64",
    "sageattention-2120_130-cp310-linux_x86_64",
    "sageattention-2120_130-cp311-linux_x86_64",
    "sageattention-2120_130-cp312-linux_x86_64",
    "sageattention-2120_130-cp313-linux_x86_64",
    "sageattention-2120_130-cp314-linux_x86_64",
    "sageattention-2130_130-cp310-linux_x86_64",
    "sageattention-2130_130-cp311-linux_x86_64",
    "sageattention-2130_130-cp312-linux_x86_64",
    "sageattention-2130_130-cp313-linux_x86_64",
    "sageattention-2130_130-cp314-linux_x86_64",
    "sageattention-2140_130-cp310-linux_x86_64",
    "sageattention-2140_130-cp311-linux_x86_64",
    "sageattention-2140_130-cp312-linux_x86_64",
    "sageattention-2140_130-cp313-linux_x86_64",
    "sageattention-2140_130-cp314-linux_x86_64",
  ]
}

group "torch-2_10" {
  targets = [
    "sageattention-2100_126-cp310-linux_x86_64",
    "sageattention-2100_126-cp311-linux_x86_64",
    "sageattention-2100_126-cp312-linux_x86_64",
    "sageattention-2100_126-cp313-linux_x86_64",
    "sageattention-2100_126-cp314-linux_x86_64",
    "sageattention-2100_128-cp310-linux_x86_64",
    "sageattention-2100_128-cp311-linux_x86_64",
    "sageattention-2100_128-cp312-linux_x86_64",
    "sageattention-2100_128-cp313-linux_x86_64",
    "sageattention-2100_128-cp314-linux_x86_64",
    "sageattention-2100_130-cp310-linux_x86_64",
    "sageattention-2100_130-cp311-linux_x86_64",
    "sageattention-2100_130-cp312-linux_x86_64",
    "sageattention-2100_130-cp313-linux_x86_64",
    "sageattention-2100_130-cp314-linux_x86_64",
  ]
}

group "torch-2_11" {
  targets = [
    "sageattention-2110_126-cp310-linux_x86_64",
    "sageattention-2110_126-cp311-linux_x86_64",
    "sageattention-2110_126-cp312-linux_x86_64",
    "sageattention-2110_126-cp313-linux_x86_64",
    "sageattention-2110_126-cp314-linux_x86_64",
    "sageattention-2110_128-cp310-linux_x86_64",
    "sageattention-2110_128-cp311-linux_x86_64",
    "sageattention-2110_128-cp312-linux_x86_64",
    "sageattention-2110_128-cp313-linux_x86_64",
    "sageattention-2110_128-cp314-linux_x86_64",
    "sageattention-2110_130-cp310-linux_x86_64",
    "sageattention-2110_130-cp311-linux_x86_64",
    "sageattention-2110_130-cp312-linux_x86_64",
    "sageattention-2110_130-cp313-linux_x86_64",
    "sageattention-2110_130-cp314-linux_x86_64",
  ]
}

group "torch-2_12" {
  targets = [
    "sageattention-2120_126-cp310-linux_x86_64",
    "sageattention-2120_126-cp311-linux_x86_64",
    "sageattention-2120_126-cp312-linux_x86_64",
    "sageattention-2120_126-cp313-linux_x86_64",
    "sageattention-2120_126-cp314-linux_x86_64",
    "sageattention-2120_130-cp310-linux_x86_64",
    "sageattention-2120_130-cp311-linux_x86_64",
    "sageattention-2120_130-cp312-linux_x86_64",
    "sageattention-2120_130-cp313-linux_x86_64",
    "sageattention-2120_130-cp314-linux_x86_64",
    "sageattention-2120_132-cp310-linux_x86_64",
    "sageattention-2120_132-cp311-linux_x86_64",
    "sageattention-2120_132-cp312-linux_x86_64",
    "sageattention-2120_132-cp313-linux_x86_64",
    "sageattention-2120_132-cp314-linux_x86_64",
  ]
}

group "cuda-13_2" {
  targets = [
    "sageattention-2120_132-cp310-linux_x86_64",
    "sageattention-2120_132-cp311-linux_x86_64",
    "sageattention-2120_132-cp312-linux_x86_64",
    "sageattention-2120_132-cp313-linux_x86_64",
    "sageattention-2120_132-cp314-linux_x86_64",
    "sageattention-2130_132-cp310-linux_x86_64",
    "sageattention-2130_132-cp311-linux_x86_64",
    "sageattention-2130_132-cp312-linux_x86_64",
    "sageattention-2130_132-cp313-linux_x86_64",
    "sageattention-2130_132-cp314-linux_x86_64",
    "sageattention-2140_132-cp310-linux_x86_64",
    "sageattention-2140_132-cp311-linux_x86_64",
    "sageattention-2140_132-cp312-linux_x86_64",
    "sageattention-2140_132-cp313-linux_x86_64",
    "sageattention-2140_132-cp314-linux_x86_64",
  ]
}

group "torch-2_13" {
  targets = [
    "sageattention-2130_126-cp310-linux_x86_64",
    "sageattention-2130_126-cp311-linux_x86_64",
    "sageattention-2130_126-cp312-linux_x86_64",
    "sageattention-2130_126-cp313-linux_x86_64",
    "sageattention-2130_126-cp314-linux_x86_64",
    "sageattention-2130_130-cp310-linux_x86_64",
    "sageattention-2130_130-cp311-linux_x86_64",
    "sageattention-2130_130-cp312-linux_x86_64",
    "sageattention-2130_130-cp313-linux_x86_64",
    "sageattention-2130_130-cp314-linux_x86_64",
    "sageattention-2130_132-cp310-linux_x86_64",
    "sageattention-2130_132-cp311-linux_x86_64",
    "sageattention-2130_132-cp312-linux_x86_64",
    "sageattention-2130_132-cp313-linux_x86_64",
    "sageattention-2130_132-cp314-linux_x86_64",
  ]
}

group "torch-2_14" {
  targets = [
    "sageattention-2140_126-cp310-linux_x86_64",
    "sageattention-2140_126-cp311-linux_x86_64",
    "sageattention-2140_126-cp312-linux_x86_64",
    "sageattention-2140_126-cp313-linux_x86_64",
    "sageattention-2140_126-cp314-linux_x86_64",
    "sageattention-2140_130-cp310-linux_x86_64",
    "sageattention-2140_130-cp311-linux_x86_64",
    "sageattention-2140_130-cp312-linux_x86_64",
    "sageattention-2140_130-cp313-linux_x86_64",
    "sageattention-2140_130-cp314-linux_x86_64",
    "sageattention-2140_132-cp310-linux_x86_64",
    "sageattention-2140_132-cp311-linux_x86_64",
    "sageattention-2140_132-cp312-linux_x86_64",
    "sageattention-2140_132-cp313-linux_x86_64",
    "sageattention-2140_132-cp314-linux_x86_64",
  ]
}

group "test-default" {
  targets = [
    "test-sageattention-280_129-cp312-linux_x86_64",
  ]
}

group "test-linux" {
  targets = [
    "test-sageattention-270_128-cp312-linux_x86_64",
    "test-sageattention-280_128-cp312-linux_x86_64",
    "test-sageattention-290_128-cp312-linux_x86_64",
  ]
}

target "_common" {
  context = "."
  dockerfile = "docker/Dockerfile"
}

target "cell" {
  name = "${c.name}"
  inherits = ["_common"]
  target = "export"
  output = ["type=local,dest=dist"]
  args = {
    PACKAGE = c.package
    TORCH = c.torch
    CUDA = c.cuda
    PYTHON = c.python
    PLATFORM = c.platform
  }
  cache-from = CACHE == "" ? [] : ["type=${CACHE},scope=${c.name}", "type=${CACHE},scope=test-${c.name}"]
  cache-to = CACHE == "" ? [] : ["type=${CACHE},scope=${c.name},mode=max"]
  matrix = {
    c = [
      { name = "sageattention-250_121-cp39-linux_x86_64", package = "sageattention", torch = "2.5.0", cuda = "12.1", python = "3.9", platform = "linux_x86_64" },
      { name = "sageattention-250_121-cp310-linux_x86_64", package = "sageattention", torch = "2.5.0", cuda = "12.1", python = "3.10", platform = "linux_x86_64" },
      { name = "sageattention-250_121-cp311-linux_x86_64", package = "sageattention", torch = "2.5.0", cuda = "12.1", python = "3.11", platform = "linux_x86_64" },
      { name = "sageattention-250_121-cp312-linux_x86_64", package = "sageattention", torch = "2.5.0", cuda = "12.1", python = "3.12", platform = "linux_x86_64" },
      { name = "sageattention-250_124-cp39-linux_x86_64", package = "sageattention", torch = "2.5.0", cuda = "12.4", python = "3.9", platform = "linux_x86_64" },
      { name = "sageattention-250_124-cp310-linux_x86_64", package = "sageattention", torch = "2.5.0", cuda = "12.4", python = "3.10", platform = "linux_x86_64" },
      { name = "sageattention-250_124-cp311-linux_x86_64", package = "sageattention", torch = "2.5.0", cuda = "12.4", python = "3.11", platform = "linux_x86_64" },
      { name = "sageattention-250_124-cp312-linux_x86_64", package = "sageattention", torch = "2.5.0", cuda = "12.4", python = "3.12", platform = "linux_x86_64" },
      { name = "sageattention-260_124-cp39-linux_x86_64", package = "sageattention", torch = "2.6.0", cuda = "12.4", python = "3.9", platform = "linux_x86_64" },
      { name = "sageattention-260_124-cp310-linux_x86_64", package = "sageattention", torch = "2.6.0", cuda = "12.4", python = "3.10", platform = "linux_x86_64" },
      { name = "sageattention-260_124-cp311-linux_x86_64", package = "sageattention", torch = "2.6.0", cuda = "12.4", python = "3.11", platform = "linux_x86_64" },
      { name = "sageattention-260_124-cp312-linux_x86_64", package = "sageattention", torch = "2.6.0", cuda = "12.4", python = "3.12", platform = "linux_x86_64" },
      { name = "sageattention-260_124-cp313-linux_x86_64", package = "sageattention", torch = "2.6.0", cuda = "12.4", python = "3.13", platform = "linux_x86_64" },
      { name = "sageattention-260_126-cp39-linux_x86_64", package = "sageattention", torch = "2.6.0", cuda = "12.6", python = "3.9", platform = "linux_x86_64" },
      { name = "sageattention-260_126-cp310-linux_x86_64", package = "sageattention", torch = "2.6.0", cuda = "12.6", python = "3.10", platform = "linux_x86_64" },
      { name = "sageattention-260_126-cp311-linux_x86_64", package = "sageattention", torch = "2.6.0", cuda = "12.6", python = "3.11", platform = "linux_x86_64" },
      { name = "sageattention-260_126-cp312-linux_x86_64", package = "sageattention", torch = "2.6.0", cuda = "12.6", python = "3.12", platform = "linux_x86_64" },
      { name = "sageattention-260_126-cp313-linux_x86_64", package = "sageattention", torch = "2.6.0", cuda = "12.6", python = "3.13", platform = "linux_x86_64" },
      { name = "sageattention-270_126-cp39-linux_x86_64", package = "sageattention", torch = "2.7.0", cuda = "12.6", python = "3.9", platform = "linux_x86_64" },
      { name = "sageattention-270_126-cp310-linux_x86_64", package = "sageattention", torch = "2.7.0", cuda = "12.6", python = "3.10", platform = "linux_x86_64" },
      { name = "sageattention-270_126-cp311-linux_x86_64", package = "sageattention", torch = "2.7.0", cuda = "12.6", python = "3.11", platform = "linux_x86_64" },
      { name = "sageattention-270_126-cp312-linux_x86_64", package = "sageattention", torch = "2.7.0", cuda = "12.6", python = "3.12", platform = "linux_x86_64" },
      { name = "sageattention-270_126-cp313-linux_x86_64", package = "sageattention", torch = "2.7.0", cuda = "12.6", python = "3.13", platform = "linux_x86_64" },
      { name = "sageattention-270_128-cp39-linux_x86_64", package = "sageattention", torch = "2.7.0", cuda = "12.8", python = "3.9", platform = "linux_x86_64" },
      { name = "sageattention-270_128-cp310-linux_x86_64", package = "sageattention", torch = "2.7.0", cuda = "12.8", python = "3.10", platform = "linux_x86_64" },
      { name = "sageattention-270_128-cp311-linux_x86_64", package = "sageattention", torch = "2.7.0", cuda = "12.8", python = "3.11", platform = "linux_x86_64" },
      { name = "sageattention-270_128-cp312-linux_x86_64", package = "sageattention", torch = "2.7.0", cuda = "12.8", python = "3.12", platform = "linux_x86_64" },
      { name = "sageattention-270_128-cp312-manylinux_2_28_x86_64", package = "sageattention", torch = "2.7.0", cuda = "12.8", python = "3.12", platform = "manylinux_2_28_x86_64" },
      { name = "sageattention-270_128-cp313-linux_x86_64", package = "sageattention", torch = "2.7.0", cuda = "12.8", python = "3.13", platform = "linux_x86_64" },
      { name = "sageattention-280_126-cp39-linux_x86_64", package = "sageattention", torch = "2.8.0", cuda = "12.6", python = "3.9", platform = "linux_x86_64" },
      { name = "sageattention-280_126-cp310-linux_x86_64", package = "sageattention", torch = "2.8.0", cuda = "12.6", python = "3.10", platform = "linux_x86_64" },
      { name = "sageattention-280_126-cp311-linux_x86_64", package = "sageattention", torch = "2.8.0", cuda = "12.6", python = "3.11", platform = "linux_x86_64" },
      { name = "sageattention-280_126-cp312-linux_x86_64", package = "sageattention", torch = "2.8.0", cuda = "12.6", python = "3.12", platform = "linux_x86_64" },
      { name = "sageattention-280_126-cp313-linux_x86_64", package = "sageattention", torch = "2.8.0", cuda = "12.6", python = "3.13", platform = "linux_x86_64" },
      { name = "sageattention-280_128-cp39-linux_x86_64", package = "sageattention", torch = "2.8.0", cuda = "12.8", python = "3.9", platform = "linux_x86_64" },
      { name = "sageattention-280_128-cp310-linux_x86_64", package = "sageattention", torch = "2.8.0", cuda = "12.8", python = "3.10", platform = "linux_x86_64" },
      { name = "sageattention-280_128-cp311-linux_x86_64", package = "sageattention", torch = "2.8.0", cuda = "12.8", python = "3.11", platform = "linux_x86_64" },
      { name = "sageattention-280_128-cp312-linux_x86_64", package = "sageattention", torch = "2.8.0", cuda = "12.8", python = "3.12", platform = "linux_x86_64" },
      { name = "sageattention-280_128-cp312-manylinux_2_28_x86_64", package = "sageattention", torch = "2.8.0", cuda = "12.8", python = "3.12", platform = "manylinux_2_28_x86_64" },
      { name = "sageattention-280_128-cp313-linux_x86_64", package = "sageattention", torch = "2.8.0", cuda = "12.8", python = "3.13", platform = "linux_x86_64" },
      { name = "sageattention-280_129-cp39-linux_x86_64", package = "sageattention", torch = "2.8.0", cuda = "12.9", python = "3.9", platform = "linux_x86_64" },
      { name = "sageattention-280_129-cp310-linux_x86_64", package = "sageattention", torch = "2.8.0", cuda = "12.9", python = "3.10", platform = "linux_x86_64" },
      { name = "sageattention-280_129-cp311-linux_x86_64", package = "sageattention", torch = "2.8.0", cuda = "12.9", python = "3.11", platform = "linux_x86_64" },
      { name = "sageattention-280_129-cp312-linux_x86_64", package = "sageattention", torch = "2.8.0", cuda = "12.9", python = "3.12", platform = "linux_x86_64" },
      { name = "sageattention-280_129-cp313-linux_x86_64", package = "sageattention", torch = "2.8.0", cuda = "12.9", python = "3.13", platform = "linux_x86_64" },
      { name = "sageattention-290_126-cp310-linux_x86_64", package = "sageattention", torch = "2.9.0", cuda = "12.6", python = "3.10", platform = "linux_x86_64" },
      { name = "sageattention-290_126-cp311-linux_x86_64", package = "sageattention", torch = "2.9.0", cuda = "12.6", python = "3.11", platform = "linux_x86_64" },
      { name = "sageattention-290_126-cp312-linux_x86_64", package = "sageattention", torch = "2.9.0", cuda = "12.6", python = "3.12", platform = "linux_x86_64" },
      { name = "sageattention-290_126-cp313-linux_x86_64", package = "sageattention", torch = "2.9.0", cuda = "12.6", python = "3.13", platform = "linux_x86_64" },
      { name = "sageattention-290_126-cp314-linux_x86_64", package = "sageattention", torch = "2.9.0", cuda = "12.6", python = "3.14", platform = "linux_x86_64" },
      { name = "sageattention-290_128-cp310-linux_x86_64", package = "sageattention", torch = "2.9.0", cuda = "12.8", python = "3.10", platform = "linux_x86_64" },
      { name = "sageattention-290_128-cp311-linux_x86_64", package = "sageattention", torch = "2.9.0", cuda = "12.8", python = "3.11", platform = "linux_x86_64" },
      { name = "sageattention-290_128-cp312-linux_x86_64", package = "sageattention", torch = "2.9.0", cuda = "12.8", python = "3.12", platform = "linux_x86_64" },
      { name = "sageattention-290_128-cp312-manylinux_2_28_x86_64", package = "sageattention", torch = "2.9.0", cuda = "12.8", python = "3.12", platform = "manylinux_2_28_x86_64" },
      { name = "sageattention-290_128-cp313-linux_x86_64", package = "sageattention", torch = "2.9.0", cuda = "12.8", python = "3.13", platform = "linux_x86_64" },
      { name = "sageattention-290_128-cp314-linux_x86_64", package = "sageattention", torch = "2.9.0", cuda = "12.8", python = "3.14", platform = "linux_x86_64" },
      { name = "sageattention-290_130-cp310-linux_x86_64", package = "sageattention", torch = "2.9.0", cuda = "13.0", python = "3.10", platform = "linux_x86_64" },
      { name = "sageattention-290_130-cp311-linux_x86_64", package = "sageattention", torch = "2.9.0", cuda = "13.0", python = "3.11", platform = "linux_x86_64" },
      { name = "sageattention-290_130-cp312-linux_x86_64", package = "sageattention", torch = "2.9.0", cuda = "13.0", python = "3.12", platform = "linux_x86_64" },
      { name = "sageattention-290_130-cp313-linux_x86_64", package = "sageattention", torch = "2.9.0", cuda = "13.0", python = "3.13", platform = "linux_x86_64" },
      { name = "sageattention-290_130-cp314-linux_x86_64", package = "sageattention", torch = "2.9.0", cuda = "13.0", python = "3.14", platform = "linux_x86_64" },
      { name = "sageattention-2100_126-cp310-linux_x86_64", package = "sageattention", torch = "2.10.0", cuda = "12.6", python = "3.10", platform = "linux_x86_64" },
      { name = "sageattention-2100_126-cp311-linux_x86_64", package = "sageattention", torch = "2.10.0", cuda = "12.6", python = "3.11", platform = "linux_x86_64" },
      { name = "sageattention-2100_126-cp312-linux_x86_64", package = "sageattention", torch = "2.10.0", cuda = "12.6", python = "3.12", platform = "linux_x86_64" },
      { name = "sageattention-2100_126-cp313-linux_x86_64", package = "sageattention", torch = "2.10.0", cuda = "12.6", python = "3.13", platform = "linux_x86_64" },
      { name = "sageattention-2100_126-cp314-linux_x86_64", package = "sageattention", torch = "2.10.0", cuda = "12.6", python = "3.14", platform = "linux_x86_64" },
      { name = "sageattention-2100_128-cp310-linux_x86_64", package = "sageattention", torch = "2.10.0", cuda = "12.8", python = "3.10", platform = "linux_x86_64" },
      { name = "sageattention-2100_128-cp311-linux_x86_64", package = "sageattention", torch = "2.10.0", cuda = "12.8", python = "3.11", platform = "linux_x86_64" },
      { name = "sageattention-2100_128-cp312-linux_x86_64", package = "sageattention", torch = "2.10.0", cuda = "12.8", python = "3.12", platform = "linux_x86_64" },
      { name = "sageattention-2100_128-cp313-linux_x86_64", package = "sageattention", torch = "2.10.0", cuda = "12.8", python = "3.13", platform = "linux_x86_64" },
      { name = "sageattention-2100_128-cp314-linux_x86_64", package = "sageattention", torch = "2.10.0", cuda = "12.8", python = "3.14", platform = "linux_x86_64" },
      { name = "sageattention-2100_130-cp310-linux_x86_64", package = "sageattention", torch = "2.10.0", cuda = "13.0", python = "3.10", platform = "linux_x86_64" },
      { name = "sageattention-2100_130-cp311-linux_x86_64", package = "sageattention", torch = "2.10.0", cuda = "13.0", python = "3.11", platform = "linux_x86_64" },
      { name = "sageattention-2100_130-cp312-linux_x86_64", package = "sageattention", torch = "2.10.0", cuda = "13.0", python = "3.12", platform = "linux_x86_64" },
      { name = "sageattention-2100_130-cp313-linux_x86_64", package = "sageattention", torch = "2.10.0", cuda = "13.0", python = "3.13", platform = "linux_x86_64" },
      { name = "sageattention-2100_130-cp314-linux_x86_64", package = "sageattention", torch = "2.10.0", cuda = "13.0", python = "3.14", platform = "linux_x86_64" },
      { name = "sageattention-2110_126-cp310-linux_x86_64", package = "sageattention", torch = "2.11.0", cuda = "12.6", python = "3.10", platform = "linux_x86_64" },
      { name = "sageattention-2110_126-cp311-linux_x86_64", package = "sageattention", torch = "2.11.0", cuda = "12.6", python = "3.11", platform = "linux_x86_64" },
      { name = "sageattention-2110_126-cp312-linux_x86_64", package = "sageattention", torch = "2.11.0", cuda = "12.6", python = "3.12", platform = "linux_x86_64" },
      { name = "sageattention-2110_126-cp313-linux_x86_64", package = "sageattention", torch = "2.11.0", cuda = "12.6", python = "3.13", platform = "linux_x86_64" },
      { name = "sageattention-2110_126-cp314-linux_x86_64", package = "sageattention", torch = "2.11.0", cuda = "12.6", python = "3.14", platform = "linux_x86_64" },
      { name = "sageattention-2110_128-cp310-linux_x86_64", package = "sageattention", torch = "2.11.0", cuda = "12.8", python = "3.10", platform = "linux_x86_64" },
      { name = "sageattention-2110_128-cp311-linux_x86_64", package = "sageattention", torch = "2.11.0", cuda = "12.8", python = "3.11", platform = "linux_x86_64" },
      { name = "sageattention-2110_128-cp312-linux_x86_64", package = "sageattention", torch = "2.11.0", cuda = "12.8", python = "3.12", platform = "linux_x86_64" },
      { name = "sageattention-2110_128-cp313-linux_x86_64", package = "sageattention", torch = "2.11.0", cuda = "12.8", python = "3.13", platform = "linux_x86_64" },
      { name = "sageattention-2110_128-cp314-linux_x86_64", package = "sageattention", torch = "2.11.0", cuda = "12.8", python = "3.14", platform = "linux_x86_64" },
      { name = "sageattention-2110_130-cp310-linux_x86_64", package = "sageattention", torch = "2.11.0", cuda = "13.0", python = "3.10", platform = "linux_x86_64" },
      { name = "sageattention-2110_130-cp311-linux_x86_64", package = "sageattention", torch = "2.11.0", cuda = "13.0", python = "3.11", platform = "linux_x86_64" },
      { name = "sageattention-2110_130-cp312-linux_x86_64", package = "sageattention", torch = "2.11.0", cuda = "13.0", python = "3.12", platform = "linux_x86_64" },
      { name = "sageattention-2110_130-cp313-linux_x86_64", package = "sageattention", torch = "2.11.0", cuda = "13.0", python = "3.13", platform = "linux_x86_64" },
      { name = "sageattention-2110_130-cp314-linux_x86_64", package = "sageattention", torch = "2.11.0", cuda = "13.0", python = "3.14", platform = "linux_x86_64" },
      { name = "sageattention-2120_126-cp310-linux_x86_64", package = "sageattention", torch = "2.12.0", cuda = "12.6", python = "3.10", platform = "linux_x86_64" },
      { name = "sageattention-2120_126-cp311-linux_x86_64", package = "sageattention", torch = "2.12.0", cuda = "12.6", python = "3.11", platform = "linux_x86_64" },
      { name = "sageattention-2120_126-cp312-linux_x86_64", package = "sageattention", torch = "2.12.0", cuda = "12.6", python = "3.12", platform = "linux_x86_64" },
      { name = "sageattention-2120_126-cp313-linux_x86_64", package = "sageattention", torch = "2.12.0", cuda = "12.6", python = "3.13", platform = "linux_x86_64" },
      { name = "sageattention-2120_126-cp314-linux_x86_64", package = "sageattention", torch = "2.12.0", cuda = "12.6", python = "3.14", platform = "linux_x86_64" },
      { name = "sageattention-2120_130-cp310-linux_x86_64", package = "sageattention", torch = "2.12.0", cuda = "13.0", python = "3.10", platform = "linux_x86_64" },
      { name = "sageattention-2120_130-cp311-linux_x86_64", package = "sageattention", torch = "2.12.0", cuda = "13.0", python = "3.11", platform = "linux_x86_64" },
      { name = "sageattention-2120_130-cp312-linux_x86_64", package = "sageattention", torch = "2.12.0", cuda = "13.0", python = "3.12", platform = "linux_x86_64" },
      { name = "sageattention-2120_130-cp313-linux_x86_64", package = "sageattention", torch = "2.12.0", cuda = "13.0", python = "3.13", platform = "linux_x86_64" },
      { name = "sageattention-2120_130-cp314-linux_x86_64", package = "sageattention", torch = "2.12.0", cuda = "13.0", python = "3.14", platform = "linux_x86_64" },
      { name = "sageattention-2120_132-cp310-linux_x86_64", package = "sageattention", torch = "2.12.0", cuda = "13.2", python = "3.10", platform = "linux_x86_64" },
      { name = "sageattention-2120_132-cp311-linux_x86_64", package = "sageattention", torch = "2.12.0", cuda = "13.2", python = "3.11", platform = "linux_x86_64" },
      { name = "sageattention-2120_132-cp312-linux_x86_64", package = "sageattention", torch = "2.12.0", cuda = "13.2", python = "3.12", platform = "linux_x86_64" },
      { name = "sageattention-2120_132-cp313-linux_x86_64", package = "sageattention", torch = "2.12.0", cuda = "13.2", python = "3.13", platform = "linux_x86_64" },
      { name = "sageattention-2120_132-cp314-linux_x86_64", package = "sageattention", torch = "2.12.0", cuda = "13.2", python = "3.14", platform = "linux_x86_64" },
      { name = "sageattention-2130_126-cp310-linux_x86_64", package = "sageattention", torch = "2.13.0", cuda = "12.6", python = "3.10", platform = "linux_x86_64" },
      { name = "sageattention-2130_126-cp311-linux_x86_64", package = "sageattention", torch = "2.13.0", cuda = "12.6", python = "3.11", platform = "linux_x86_64" },
      { name = "sageattention-2130_126-cp312-linux_x86_64", package = "sageattention", torch = "2.13.0", cuda = "12.6", python = "3.12", platform = "linux_x86_64" },
      { name = "sageattention-2130_126-cp313-linux_x86_64", package = "sageattention", torch = "2.13.0", cuda = "12.6", python = "3.13", platform = "linux_x86_64" },
      { name = "sageattention-2130_126-cp314-linux_x86_64", package = "sageattention", torch = "2.13.0", cuda = "12.6", python = "3.14", platform = "linux_x86_64" },
      { name = "sageattention-2130_130-cp310-linux_x86_64", package = "sageattention", torch = "2.13.0", cuda = "13.0", python = "3.10", platform = "linux_x86_64" },
      { name = "sageattention-2130_130-cp311-linux_x86_64", package = "sageattention", torch = "2.13.0", cuda = "13.0", python = "3.11", platform = "linux_x86_64" },
      { name = "sageattention-2130_130-cp312-linux_x86_64", package = "sageattention", torch = "2.13.0", cuda = "13.0", python = "3.12", platform = "linux_x86_64" },
      { name = "sageattention-2130_130-cp313-linux_x86_64", package = "sageattention", torch = "2.13.0", cuda = "13.0", python = "3.13", platform = "linux_x86_64" },
      { name = "sageattention-2130_130-cp314-linux_x86_64", package = "sageattention", torch = "2.13.0", cuda = "13.0", python = "3.14", platform = "linux_x86_64" },
      { name = "sageattention-2130_132-cp310-linux_x86_64", package = "sageattention", torch = "2.13.0", cuda = "13.2", python = "3.10", platform = "linux_x86_64" },
      { name = "sageattention-2130_132-cp311-linux_x86_64", package = "sageattention", torch = "2.13.0", cuda = "13.2", python = "3.11", platform = "linux_x86_64" },
      { name = "sageattention-2130_132-cp312-linux_x86_64", package = "sageattention", torch = "2.13.0", cuda = "13.2", python = "3.12", platform = "linux_x86_64" },
      { name = "sageattention-2130_132-cp313-linux_x86_64", package = "sageattention", torch = "2.13.0", cuda = "13.2", python = "3.13", platform = "linux_x86_64" },
      { name = "sageattention-2130_132-cp314-linux_x86_64", package = "sageattention", torch = "2.13.0", cuda = "13.2", python = "3.14", platform = "linux_x86_64" },
      { name = "sageattention-2140_126-cp310-linux_x86_64", package = "sageattention", torch = "2.14.0", cuda = "12.6", python = "3.10", platform = "linux_x86_64" },
      { name = "sageattention-2140_126-cp311-linux_x86_64", package = "sageattention", torch = "2.14.0", cuda = "12.6", python = "3.11", platform = "linux_x86_64" },
      { name = "sageattention-2140_126-cp312-linux_x86_64", package = "sageattention", torch = "2.14.0", cuda = "12.6", python = "3.12", platform = "linux_x86_64" },
      { name = "sageattention-2140_126-cp313-linux_x86_64", package = "sageattention", torch = "2.14.0", cuda = "12.6", python = "3.13", platform = "linux_x86_64" },
      { name = "sageattention-2140_126-cp314-linux_x86_64", package = "sageattention", torch = "2.14.0", cuda = "12.6", python = "3.14", platform = "linux_x86_64" },
      { name = "sageattention-2140_130-cp310-linux_x86_64", package = "sageattention", torch = "2.14.0", cuda = "13.0", python = "3.10", platform = "linux_x86_64" },
      { name = "sageattention-2140_130-cp311-linux_x86_64", package = "sageattention", torch = "2.14.0", cuda = "13.0", python = "3.11", platform = "linux_x86_64" },
      { name = "sageattention-2140_130-cp312-linux_x86_64", package = "sageattention", torch = "2.14.0", cuda = "13.0", python = "3.12", platform = "linux_x86_64" },
      { name = "sageattention-2140_130-cp313-linux_x86_64", package = "sageattention", torch = "2.14.0", cuda = "13.0", python = "3.13", platform = "linux_x86_64" },
      { name = "sageattention-2140_130-cp314-linux_x86_64", package = "sageattention", torch = "2.14.0", cuda = "13.0", python = "3.14", platform = "linux_x86_64" },
      { name = "sageattention-2140_132-cp310-linux_x86_64", package = "sageattention", torch = "2.14.0", cuda = "13.2", python = "3.10", platform = "linux_x86_64" },
      { name = "sageattention-2140_132-cp311-linux_x86_64", package = "sageattention", torch = "2.14.0", cuda = "13.2", python = "3.11", platform = "linux_x86_64" },
      { name = "sageattention-2140_132-cp312-linux_x86_64", package = "sageattention", torch = "2.14.0", cuda = "13.2", python = "3.12", platform = "linux_x86_64" },
      { name = "sageattention-2140_132-cp313-linux_x86_64", package = "sageattention", torch = "2.14.0", cuda = "13.2", python = "3.13", platform = "linux_x86_64" },
      { name = "sageattention-2140_132-cp314-linux_x86_64", package = "sageattention", torch = "2.14.0", cuda = "13.2", python = "3.14", platform = "linux_x86_64" }
    ]
  }
}

target "test-cell" {
  name = "test-${c.name}"
  inherits = ["_common"]
  target = "test"
  output = ["type=cacheonly"]
  args = {
    PACKAGE = c.package
    TORCH = c.torch
    CUDA = c.cuda
    PYTHON = c.python
    PLATFORM = c.platform
  }
  cache-from = CACHE == "" ? [] : ["type=${CACHE},scope=${c.name}", "type=${CACHE},scope=test-${c.name}"]
  cache-to = CACHE == "" ? [] : ["type=${CACHE},scope=test-${c.name},mode=max"]
  matrix = {
    c = [
      { name = "sageattention-250_121-cp39-linux_x86_64", package = "sageattention", torch = "2.5.0", cuda = "12.1", python = "3.9", platform = "linux_x86_64" },
      { name = "sageattention-250_121-cp310-linux_x86_64", package = "sageattention", torch = "2.5.0", cuda = "12.1", python = "3.10", platform = "linux_x86_64" },
      { name = "sageattention-250_121-cp311-linux_x86_64", package = "sageattention", torch = "2.5.0", cuda = "12.1", python = "3.11", platform = "linux_x86_64" },
      { name = "sageattention-250_121-cp312-linux_x86_64", package = "sageattention", torch = "2.5.0", cuda = "12.1", python = "3.12", platform = "linux_x86_64" },
      { name = "sageattention-250_124-cp39-linux_x86_64", package = "sageattention", torch = "2.5.0", cuda = "12.4", python = "3.9", platform = "linux_x86_64" },
      { name = "sageattention-250_124-cp310-linux_x86_64", package = "sageattention", torch = "2.5.0", cuda = "12.4", python = "3.10", platform = "linux_x86_64" },
      { name = "sageattention-250_124-cp311-linux_x86_64", package = "sageattention", torch = "2.5.0", cuda = "12.4", python = "3.11", platform = "linux_x86_64" },
      { name = "sageattention-250_124-cp312-linux_x86_64", package = "sageattention", torch = "2.5.0", cuda = "12.4", python = "3.12", platform = "linux_x86_64" },
      { name = "sageattention-260_124-cp39-linux_x86_64", package = "sageattention", torch = "2.6.0", cuda = "12.4", python = "3.9", platform = "linux_x86_64" },
      { name = "sageattention-260_124-cp310-linux_x86_64", package = "sageattention", torch = "2.6.0", cuda = "12.4", python = "3.10", platform = "linux_x86_64" },
      { name = "sageattention-260_124-cp311-linux_x86_64", package = "sageattention", torch = "2.6.0", cuda = "12.4", python = "3.11", platform = "linux_x86_64" },
      { name = "sageattention-260_124-cp312-linux_x86_64", package = "sageattention", torch = "2.6.0", cuda = "12.4", python = "3.12", platform = "linux_x86_64" },
      { name = "sageattention-260_124-cp313-linux_x86_64", package = "sageattention", torch = "2.6.0", cuda = "12.4", python = "3.13", platform = "linux_x86_64" },
      { name = "sageattention-260_126-cp39-linux_x86_64", package = "sageattention", torch = "2.6.0", cuda = "12.6", python = "3.9", platform = "linux_x86_64" },
      { name = "sageattention-260_126-cp310-linux_x86_64", package = "sageattention", torch = "2.6.0", cuda = "12.6", python = "3.10", platform = "linux_x86_64" },
      { name = "sageattention-260_126-cp311-linux_x86_64", package = "sageattention", torch = "2.6.0", cuda = "12.6", python = "3.11", platform = "linux_x86_64" },
      { name = "sageattention-260_126-cp312-linux_x86_64", package = "sageattention", torch = "2.6.0", cuda = "12.6", python = "3.12", platform = "linux_x86_64" },
      { name = "sageattention-260_126-cp313-linux_x86_64", package = "sageattention", torch = "2.6.0", cuda = "12.6", python = "3.13", platform = "linux_x86_64" },
      { name = "sageattention-270_126-cp39-linux_x86_64", package = "sageattention", torch = "2.7.0", cuda = "12.6", python = "3.9", platform = "linux_x86_64" },
      { name = "sageattention-270_126-cp310-linux_x86_64", package = "sageattention", torch = "2.7.0", cuda = "12.6", python = "3.10", platform = "linux_x86_64" },
      { name = "sageattention-270_126-cp311-linux_x86_64", package = "sageattention", torch = "2.7.0", cuda = "12.6", python = "3.11", platform = "linux_x86_64" },
      { name = "sageattention-270_126-cp312-linux_x86_64", package = "sageattention", torch = "2.7.0", cuda = "12.6", python = "3.12", platform = "linux_x86_64" },
      { name = "sageattention-270_126-cp313-linux_x86_64", package = "sageattention", torch = "2.7.0", cuda = "12.6", python = "3.13", platform = "linux_x86_64" },
      { name = "sageattention-270_128-cp39-linux_x86_64", package = "sageattention", torch = "2.7.0", cuda = "12.8", python = "3.9", platform = "linux_x86_64" },
      { name = "sageattention-270_128-cp310-linux_x86_64", package = "sageattention", torch = "2.7.0", cuda = "12.8", python = "3.10", platform = "linux_x86_64" },
      { name = "sageattention-270_128-cp311-linux_x86_64", package = "sageattention", torch = "2.7.0", cuda = "12.8", python = "3.11", platform = "linux_x86_64" },
      { name = "sageattention-270_128-cp312-linux_x86_64", package = "sageattention", torch = "2.7.0", cuda = "12.8", python = "3.12", platform = "linux_x86_64" },
      { name = "sageattention-270_128-cp312-manylinux_2_28_x86_64", package = "sageattention", torch = "2.7.0", cuda = "12.8", python = "3.12", platform = "manylinux_2_28_x86_64" },
      { name = "sageattention-270_128-cp313-linux_x86_64", package = "sageattention", torch = "2.7.0", cuda = "12.8", python = "3.13", platform = "linux_x86_64" },
      { name = "sageattention-280_126-cp39-linux_x86_64", package = "sageattention", torch = "2.8.0", cuda = "12.6", python = "3.9", platform = "linux_x86_64" },
      { name = "sageattention-280_126-cp310-linux_x86_64", package = "sageattention", torch = "2.8.0", cuda = "12.6", python = "3.10", platform = "linux_x86_64" },
      { name = "sageattention-280_126-cp311-linux_x86_64", package = "sageattention", torch = "2.8.0", cuda = "12.6", python = "3.11", platform = "linux_x86_64" },
      { name = "sageattention-280_126-cp312-linux_x86_64", package = "sageattention", torch = "2.8.0", cuda = "12.6", python = "3.12", platform = "linux_x86_64" },
      { name = "sageattention-280_126-cp313-linux_x86_64", package = "sageattention", torch = "2.8.0", cuda = "12.6", python = "3.13", platform = "linux_x86_64" },
      { name = "sageattention-280_128-cp39-linux_x86_64", package = "sageattention", torch = "2.8.0", cuda = "12.8", python = "3.9", platform = "linux_x86_64" },
      { name = "sageattention-280_128-cp310-linux_x86_64", package = "sageattention", torch = "2.8.0", cuda = "12.8", python = "3.10", platform = "linux_x86_64" },
      { name = "sageattention-280_128-cp311-linux_x86_64", package = "sageattention", torch = "2.8.0", cuda = "12.8", python = "3.11", platform = "linux_x86_64" },
      { name = "sageattention-280_128-cp312-linux_x86_64", package = "sageattention", torch = "2.8.0", cuda = "12.8", python = "3.12", platform = "linux_x86_64" },
      { name = "sageattention-280_128-cp312-manylinux_2_28_x86_64", package = "sageattention", torch = "2.8.0", cuda = "12.8", python = "3.12", platform = "manylinux_2_28_x86_64" },
      { name = "sageattention-280_128-cp313-linux_x86_64", package = "sageattention", torch = "2.8.0", cuda = "12.8", python = "3.13", platform = "linux_x86_64" },
      { name = "sageattention-280_129-cp39-linux_x86_64", package = "sageattention", torch = "2.8.0", cuda = "12.9", python = "3.9", platform = "linux_x86_64" },
      { name = "sageattention-280_129-cp310-linux_x86_64", package = "sageattention", torch = "2.8.0", cuda = "12.9", python = "3.10", platform = "linux_x86_64" },
      { name = "sageattention-280_129-cp311-linux_x86_64", package = "sageattention", torch = "2.8.0", cuda = "12.9", python = "3.11", platform = "linux_x86_64" },
      { name = "sageattention-280_129-cp312-linux_x86_64", package = "sageattention", torch = "2.8.0", cuda = "12.9", python = "3.12", platform = "linux_x86_64" },
      { name = "sageattention-280_129-cp313-linux_x86_64", package = "sageattention", torch = "2.8.0", cuda = "12.9", python = "3.13", platform = "linux_x86_64" },
      { name = "sageattention-290_126-cp310-linux_x86_64", package = "sageattention", torch = "2.9.0", cuda = "12.6", python = "3.10", platform = "linux_x86_64" },
      { name = "sageattention-290_126-cp311-linux_x86_64", package = "sageattention", torch = "2.9.0", cuda = "12.6", python = "3.11", platform = "linux_x86_64" },
      { name = "sageattention-290_126-cp312-linux_x86_64", package = "sageattention", torch = "2.9.0", cuda = "12.6", python = "3.12", platform = "linux_x86_64" },
      { name = "sageattention-290_126-cp313-linux_x86_64", package = "sageattention", torch = "2.9.0", cuda = "12.6", python = "3.13", platform = "linux_x86_64" },
      { name = "sageattention-290_126-cp314-linux_x86_64", package = "sageattention", torch = "2.9.0", cuda = "12.6", python = "3.14", platform = "linux_x86_64" },
      { name = "sageattention-290_128-cp310-linux_x86_64", package = "sageattention", torch = "2.9.0", cuda = "12.8", python = "3.10", platform = "linux_x86_64" },
      { name = "sageattention-290_128-cp311-linux_x86_64", package = "sageattention", torch = "2.9.0", cuda = "12.8", python = "3.11", platform = "linux_x86_64" },
      { name = "sageattention-290_128-cp312-linux_x86_64", package = "sageattention", torch = "2.9.0", cuda = "12.8", python = "3.12", platform = "linux_x86_64" },
      { name = "sageattention-290_128-cp312-manylinux_2_28_x86_64", package = "sageattention", torch = "2.9.0", cuda = "12.8", python = "3.12", platform = "manylinux_2_28_x86_64" },
      { name = "sageattention-290_128-cp313-linux_x86_64", package = "sageattention", torch = "2.9.0", cuda = "12.8", python = "3.13", platform = "linux_x86_64" },
      { name = "sageattention-290_128-cp314-linux_x86_64", package = "sageattention", torch = "2.9.0", cuda = "12.8", python = "3.14", platform = "linux_x86_64" },
      { name = "sageattention-290_130-cp310-linux_x86_64", package = "sageattention", torch = "2.9.0", cuda = "13.0", python = "3.10", platform = "linux_x86_64" },
      { name = "sageattention-290_130-cp311-linux_x86_64", package = "sageattention", torch = "2.9.0", cuda = "13.0", python = "3.11", platform = "linux_x86_64" },
      { name = "sageattention-290_130-cp312-linux_x86_64", package = "sageattention", torch = "2.9.0", cuda = "13.0", python = "3.12", platform = "linux_x86_64" },
      { name = "sageattention-290_130-cp313-linux_x86_64", package = "sageattention", torch = "2.9.0", cuda = "13.0", python = "3.13", platform = "linux_x86_64" },
      { name = "sageattention-290_130-cp314-linux_x86_64", package = "sageattention", torch = "2.9.0", cuda = "13.0", python = "3.14", platform = "linux_x86_64" },
      { name = "sageattention-2100_126-cp310-linux_x86_64", package = "sageattention", torch = "2.10.0", cuda = "12.6", python = "3.10", platform = "linux_x86_64" },
      { name = "sageattention-2100_126-cp311-linux_x86_64", package = "sageattention", torch = "2.10.0", cuda = "12.6", python = "3.11", platform = "linux_x86_64" },
      { name = "sageattention-2100_126-cp312-linux_x86_64", package = "sageattention", torch = "2.10.0", cuda = "12.6", python = "3.12", platform = "linux_x86_64" },
      { name = "sageattention-2100_126-cp313-linux_x86_64", package = "sageattention", torch = "2.10.0", cuda = "12.6", python = "3.13", platform = "linux_x86_64" },
      { name = "sageattention-2100_126-cp314-linux_x86_64", package = "sageattention", torch = "2.10.0", cuda = "12.6", python = "3.14", platform = "linux_x86_64" },
      { name = "sageattention-2100_128-cp310-linux_x86_64", package = "sageattention", torch = "2.10.0", cuda = "12.8", python = "3.10", platform = "linux_x86_64" },
      { name = "sageattention-2100_128-cp311-linux_x86_64", package = "sageattention", torch = "2.10.0", cuda = "12.8", python = "3.11", platform = "linux_x86_64" },
      { name = "sageattention-2100_128-cp312-linux_x86_64", package = "sageattention", torch = "2.10.0", cuda = "12.8", python = "3.12", platform = "linux_x86_64" },
      { name = "sageattention-2100_128-cp313-linux_x86_64", package = "sageattention", torch = "2.10.0", cuda = "12.8", python = "3.13", platform = "linux_x86_64" },
      { name = "sageattention-2100_128-cp314-linux_x86_64", package = "sageattention", torch = "2.10.0", cuda = "12.8", python = "3.14", platform = "linux_x86_64" },
      { name = "sageattention-2100_130-cp310-linux_x86_64", package = "sageattention", torch = "2.10.0", cuda = "13.0", python = "3.10", platform = "linux_x86_64" },
      { name = "sageattention-2100_130-cp311-linux_x86_64", package = "sageattention", torch = "2.10.0", cuda = "13.0", python = "3.11", platform = "linux_x86_64" },
      { name = "sageattention-2100_130-cp312-linux_x86_64", package = "sageattention", torch = "2.10.0", cuda = "13.0", python = "3.12", platform = "linux_x86_64" },
      { name = "sageattention-2100_130-cp313-linux_x86_64", package = "sageattention", torch = "2.10.0", cuda = "13.0", python = "3.13", platform = "linux_x86_64" },
      { name = "sageattention-2100_130-cp314-linux_x86_64", package = "sageattention", torch = "2.10.0", cuda = "13.0", python = "3.14", platform = "linux_x86_64" },
      { name = "sageattention-2110_126-cp310-linux_x86_64", package = "sageattention", torch = "2.11.0", cuda = "12.6", python = "3.10", platform = "linux_x86_64" },
      { name = "sageattention-2110_126-cp311-linux_x86_64", package = "sageattention", torch = "2.11.0", cuda = "12.6", python = "3.11", platform = "linux_x86_64" },
      { name = "sageattention-2110_126-cp312-linux_x86_64", package = "sageattention", torch = "2.11.0", cuda = "12.6", python = "3.12", platform = "linux_x86_64" },
      { name = "sageattention-2110_126-cp313-linux_x86_64", package = "sageattention", torch = "2.11.0", cuda = "12.6", python = "3.13", platform = "linux_x86_64" },
      { name = "sageattention-2110_126-cp314-linux_x86_64", package = "sageattention", torch = "2.11.0", cuda = "12.6", python = "3.14", platform = "linux_x86_64" },
      { name = "sageattention-2110_128-cp310-linux_x86_64", package = "sageattention", torch = "2.11.0", cuda = "12.8", python = "3.10", platform = "linux_x86_64" },
      { name = "sageattention-2110_128-cp311-linux_x86_64", package = "sageattention", torch = "2.11.0", cuda = "12.8", python = "3.11", platform = "linux_x86_64" },
      { name = "sageattention-2110_128-cp312-linux_x86_64", package = "sageattention", torch = "2.11.0", cuda = "12.8", python = "3.12", platform = "linux_x86_64" },
      { name = "sageattention-2110_128-cp313-linux_x86_64", package = "sageattention", torch = "2.11.0", cuda = "12.8", python = "3.13", platform = "linux_x86_64" },
      { name = "sageattention-2110_128-cp314-linux_x86_64", package = "sageattention", torch = "2.11.0", cuda = "12.8", python = "3.14", platform = "linux_x86_64" },
      { name = "sageattention-2110_130-cp310-linux_x86_64", package = "sageattention", torch = "2.11.0", cuda = "13.0", python = "3.10", platform = "linux_x86_64" },
      { name = "sageattention-2110_130-cp311-linux_x86_64", package = "sageattention", torch = "2.11.0", cuda = "13.0", python = "3.11", platform = "linux_x86_64" },
      { name = "sageattention-2110_130-cp312-linux_x86_64", package = "sageattention", torch = "2.11.0", cuda = "13.0", python = "3.12", platform = "linux_x86_64" },
      { name = "sageattention-2110_130-cp313-linux_x86_64", package = "sageattention", torch = "2.11.0", cuda = "13.0", python = "3.13", platform = "linux_x86_64" },
      { name = "sageattention-2110_130-cp314-linux_x86_64", package = "sageattention", torch = "2.11.0", cuda = "13.0", python = "3.14", platform = "linux_x86_64" },
      { name = "sageattention-2120_126-cp310-linux_x86_64", package = "sageattention", torch = "2.12.0", cuda = "12.6", python = "3.10", platform = "linux_x86_64" },
      { name = "sageattention-2120_126-cp311-linux_x86_64", package = "sageattention", torch = "2.12.0", cuda = "12.6", python = "3.11", platform = "linux_x86_64" },
      { name = "sageattention-2120_126-cp312-linux_x86_64", package = "sageattention", torch = "2.12.0", cuda = "12.6", python = "3.12", platform = "linux_x86_64" },
      { name = "sageattention-2120_126-cp313-linux_x86_64", package = "sageattention", torch = "2.12.0", cuda = "12.6", python = "3.13", platform = "linux_x86_64" },
      { name = "sageattention-2120_126-cp314-linux_x86_64", package = "sageattention", torch = "2.12.0", cuda = "12.6", python = "3.14", platform = "linux_x86_64" },
      { name = "sageattention-2120_130-cp310-linux_x86_64", package = "sageattention", torch = "2.12.0", cuda = "13.0", python = "3.10", platform = "linux_x86_64" },
      { name = "sageattention-2120_130-cp311-linux_x86_64", package = "sageattention", torch = "2.12.0", cuda = "13.0", python = "3.11", platform = "linux_x86_64" },
      { name = "sageattention-2120_130-cp312-linux_x86_64", package = "sageattention", torch = "2.12.0", cuda = "13.0", python = "3.12", platform = "linux_x86_64" },
      { name = "sageattention-2120_130-cp313-linux_x86_64", package = "sageattention", torch = "2.12.0", cuda = "13.0", python = "3.13", platform = "linux_x86_64" },
      { name = "sageattention-2120_130-cp314-linux_x86_64", package = "sageattention", torch = "2.12.0", cuda = "13.0", python = "3.14", platform = "linux_x86_64" },
      { name = "sageattention-2120_132-cp310-linux_x86_64", package = "sageattention", torch = "2.12.0", cuda = "13.2", python = "3.10", platform = "linux_x86_64" },
      { name = "sageattention-2120_132-cp311-linux_x86_64", package = "sageattention", torch = "2.12.0", cuda = "13.2", python = "3.11", platform = "linux_x86_64" },
      { name = "sageattention-2120_132-cp312-linux_x86_64", package = "sageattention", torch = "2.12.0", cuda = "13.2", python = "3.12", platform = "linux_x86_64" },
      { name = "sageattention-2120_132-cp313-linux_x86_64", package = "sageattention", torch = "2.12.0", cuda = "13.2", python = "3.13", platform = "linux_x86_64" },
      { name = "sageattention-2120_132-cp314-linux_x86_64", package = "sageattention", torch = "2.12.0", cuda = "13.2", python = "3.14", platform = "linux_x86_64" },
      { name = "sageattention-2130_126-cp310-linux_x86_64", package = "sageattention", torch = "2.13.0", cuda = "12.6", python = "3.10", platform = "linux_x86_64" },
      { name = "sageattention-2130_126-cp311-linux_x86_64", package = "sageattention", torch = "2.13.0", cuda = "12.6", python = "3.11", platform = "linux_x86_64" },
      { name = "sageattention-2130_126-cp312-linux_x86_64", package = "sageattention", torch = "2.13.0", cuda = "12.6", python = "3.12", platform = "linux_x86_64" },
      { name = "sageattention-2130_126-cp313-linux_x86_64", package = "sageattention", torch = "2.13.0", cuda = "12.6", python = "3.13", platform = "linux_x86_64" },
      { name = "sageattention-2130_126-cp314-linux_x86_64", package = "sageattention", torch = "2.13.0", cuda = "12.6", python = "3.14", platform = "linux_x86_64" },
      { name = "sageattention-2130_130-cp310-linux_x86_64", package = "sageattention", torch = "2.13.0", cuda = "13.0", python = "3.10", platform = "linux_x86_64" },
      { name = "sageattention-2130_130-cp311-linux_x86_64", package = "sageattention", torch = "2.13.0", cuda = "13.0", python = "3.11", platform = "linux_x86_64" },
      { name = "sageattention-2130_130-cp312-linux_x86_64", package = "sageattention", torch = "2.13.0", cuda = "13.0", python = "3.12", platform = "linux_x86_64" },
      { name = "sageattention-2130_130-cp313-linux_x86_64", package = "sageattention", torch = "2.13.0", cuda = "13.0", python = "3.13", platform = "linux_x86_64" },
      { name = "sageattention-2130_130-cp314-linux_x86_64", package = "sageattention", torch = "2.13.0", cuda = "13.0", python = "3.14", platform = "linux_x86_64" },
      { name = "sageattention-2130_132-cp310-linux_x86_64", package = "sageattention", torch = "2.13.0", cuda = "13.2", python = "3.10", platform = "linux_x86_64" },
      { name = "sageattention-2130_132-cp311-linux_x86_64", package = "sageattention", torch = "2.13.0", cuda = "13.2", python = "3.11", platform = "linux_x86_64" },
      { name = "sageattention-2130_132-cp312-linux_x86_64", package = "sageattention", torch = "2.13.0", cuda = "13.2", python = "3.12", platform = "linux_x86_64" },
      { name = "sageattention-2130_132-cp313-linux_x86_64", package = "sageattention", torch = "2.13.0", cuda = "13.2", python = "3.13", platform = "linux_x86_64" },
      { name = "sageattention-2130_132-cp314-linux_x86_64", package = "sageattention", torch = "2.13.0", cuda = "13.2", python = "3.14", platform = "linux_x86_64" },
      { name = "sageattention-2140_126-cp310-linux_x86_64", package = "sageattention", torch = "2.14.0", cuda = "12.6", python = "3.10", platform = "linux_x86_64" },
      { name = "sageattention-2140_126-cp311-linux_x86_64", package = "sageattention", torch = "2.14.0", cuda = "12.6", python = "3.11", platform = "linux_x86_64" },
      { name = "sageattention-2140_126-cp312-linux_x86_64", package = "sageattention", torch = "2.14.0", cuda = "12.6", python = "3.12", platform = "linux_x86_64" },
      { name = "sageattention-2140_126-cp313-linux_x86_64", package = "sageattention", torch = "2.14.0", cuda = "12.6", python = "3.13", platform = "linux_x86_64" },
      { name = "sageattention-2140_126-cp314-linux_x86_64", package = "sageattention", torch = "2.14.0", cuda = "12.6", python = "3.14", platform = "linux_x86_64" },
      { name = "sageattention-2140_130-cp310-linux_x86_64", package = "sageattention", torch = "2.14.0", cuda = "13.0", python = "3.10", platform = "linux_x86_64" },
      { name = "sageattention-2140_130-cp311-linux_x86_64", package = "sageattention", torch = "2.14.0", cuda = "13.0", python = "3.11", platform = "linux_x86_64" },
      { name = "sageattention-2140_130-cp312-linux_x86_64", package = "sageattention", torch = "2.14.0", cuda = "13.0", python = "3.12", platform = "linux_x86_64" },
      { name = "sageattention-2140_130-cp313-linux_x86_64", package = "sageattention", torch = "2.14.0", cuda = "13.0", python = "3.13", platform = "linux_x86_64" },
      { name = "sageattention-2140_130-cp314-linux_x86_64", package = "sageattention", torch = "2.14.0", cuda = "13.0", python = "3.14", platform = "linux_x86_64" },
      { name = "sageattention-2140_132-cp310-linux_x86_64", package = "sageattention", torch = "2.14.0", cuda = "13.2", python = "3.10", platform = "linux_x86_64" },
      { name = "sageattention-2140_132-cp311-linux_x86_64", package = "sageattention", torch = "2.14.0", cuda = "13.2", python = "3.11", platform = "linux_x86_64" },
      { name = "sageattention-2140_132-cp312-linux_x86_64", package = "sageattention", torch = "2.14.0", cuda = "13.2", python = "3.12", platform = "linux_x86_64" },
      { name = "sageattention-2140_132-cp313-linux_x86_64", package = "sageattention", torch = "2.14.0", cuda = "13.2", python = "3.13", platform = "linux_x86_64" },
      { name = "sageattention-2140_132-cp314-linux_x86_64", package = "sageattention", torch = "2.14.0", cuda = "13.2", python = "3.14", platform = "linux_x86_64" }
    ]
  }
}
