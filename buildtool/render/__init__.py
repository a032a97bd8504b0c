"""Pure: a matrix or plan to the text of a file."""
