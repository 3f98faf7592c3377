"""The study file: from YAML to frozen, typed objects. Kept empty so that importing the schema alone stays cheap."""
