systemctl daemon-reload 2>/dev/null || :
if [ "$1" -ge 1 ]; then
    systemctl try-restart tlswhy.service || :
else
    rm -rf /var/lib/tlswhy /run/tlswhy
    rmdir /var/log/tlswhy 2>/dev/null || :
    journalctl --update-catalog || :
fi
