"""A message coming in by SMTP, LMTP or submission: who may, what it weighs, where it goes.

(skeleton: the interface is settled, the bodies are being written)
"""
