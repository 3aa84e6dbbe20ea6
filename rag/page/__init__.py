"""What the chat page shows, without any widget: cited pages and passages, answers as safe HTML."""
