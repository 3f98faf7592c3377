#!/usr/bin/env bash
# Installs and starts deploy/mlflow.service for this user; run on the head by `ray up`.
set -euo pipefail
units=~/.config/systemd/user
mkdir -p "$units"
cp "$(dirname "$0")/mlflow.service" "$units/"
if [ ! -d /run/systemd/system ]; then
    echo "No systemd runs here. Start MLflow yourself with the settings of $units/mlflow.service." >&2
    exit 0
fi
# Without this the user's services end with the ssh session that started them.
loginctl enable-linger || sudo loginctl enable-linger "$USER"
export XDG_RUNTIME_DIR=/run/user/$(id -u)
systemctl --user daemon-reload
systemctl --user enable mlflow
systemctl --user restart mlflow
