"""report.html: figures, style, script."""
