"""The suppression list: to whom nothing is sent, whoever asks for it."""
