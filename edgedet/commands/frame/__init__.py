"""What every command is made with: parser, session, results for programs."""
