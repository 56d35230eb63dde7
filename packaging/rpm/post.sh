systemd-sysusers tlswhy.conf || :
journalctl --update-catalog || :
if [ "$1" -eq 1 ]; then
    systemctl --no-reload preset tlswhy.service || :
fi
systemctl daemon-reload 2>/dev/null || :
