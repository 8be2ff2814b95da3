"""How a question is asked. Everything that knows gradio_client and HTTP is in this folder."""
