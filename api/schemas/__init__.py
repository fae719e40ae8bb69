"""Request and response models: the wire contract that server, client and workers share. No FastAPI here."""
