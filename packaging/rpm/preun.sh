if [ "$1" -eq 0 ]; then
    systemctl --no-reload disable --now tlswhy.service || :
    tlswhy detach >/dev/null || :
fi
