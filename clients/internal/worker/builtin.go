package worker

// The protocols and security layers that the swarm has. Each adds itself; this is the
// only list of them.
import (
	_ "connbench/clients/internal/protocol/http"
	_ "connbench/clients/internal/protocol/tcp"
	_ "connbench/clients/internal/protocol/websocket"
	_ "connbench/clients/internal/security/none"
	_ "connbench/clients/internal/security/tls"
)
