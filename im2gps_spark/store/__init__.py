"""Where things lie: tables, files, photos."""
