"""Pictures of results, drawn as SVG without any package."""
