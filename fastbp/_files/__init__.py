"""Reading and writing files: atomic writing, safetensors, and NumPy's formats."""
