"""Pure: text to frozen values to text. No clock, disk, network or process."""
