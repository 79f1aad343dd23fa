"""Where a mail goes: recipient domain → mail exchangers in order → addresses."""
