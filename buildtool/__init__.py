"""Build-matrix orchestration for CUDA attention wheels: plan, render, make, prove, publish."""
