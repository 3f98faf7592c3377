"""One training, from its first step to its exported model; knows neither Ray nor MLflow."""
