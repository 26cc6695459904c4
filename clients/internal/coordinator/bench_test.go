package coordinator

import (
	"testing"

	"connbench/clients/control"
	"connbench/clients/internal/peer"
	"connbench/clients/internal/swarmtest"
	"connbench/clients/stack/stacktest"
)

// BenchmarkEngines has whole swarms open connections to the same server and send
// over them, one engine after the other: CPU time of the swarm for a handshake and
// for an echo, and what a connection adds to its resident memory. The kernel does a
// part of the server's work on the client's account, a larger one with packets: what
// is written to the device is received at once.
func BenchmarkEngines(b *testing.B) {
	stacktest.Need(b)
	const first, connections = 3000, 18_000 // what is needed once is there after the first
	server := peer.Start(b, stacktest.IPv4Host, peer.Echo)
	for _, engine := range control.Engines {
		b.Run(engine, func(b *testing.B) {
			var handshakes, echoes, handshakeSeconds, echoSeconds, residentBytes float64
			for b.Loop() {
				s := swarmtest.Start(b)
				config := swarmtest.Configuration(connections, server.Address)
				if engine == control.EnginePacket {
					config = packetConfiguration(connections, server.Address)
				}
				s.Do(control.Command{Op: control.OpConfigure, Config: config})
				s.Do(control.Command{Op: "ramp", Connections: first / 2, Window: 100})
				before := s.Do(control.Command{Op: "ramp", Connections: first, Window: 100})
				ramp := s.Do(control.Command{Op: "ramp", Connections: connections, Window: 100})
				handshakes += float64(ramp.Opened)
				handshakeSeconds += cpuSeconds(ramp)
				residentBytes += float64(ramp.Usage.RSSBytes-before.Usage.RSSBytes) / (connections - first)
				load := s.Do(control.Command{Op: "saturate", InFlight: 100, PayloadBytes: 32, Seconds: 0.5})
				echoes += float64(load.Delivered + load.Late)
				echoSeconds += cpuSeconds(load)
				s.ExpectExit(0)
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(handshakeSeconds/handshakes*1e6, "cpu-µs/handshake")
			b.ReportMetric(echoSeconds/echoes*1e6, "cpu-µs/echo")
			b.ReportMetric(residentBytes/float64(b.N), "RSS-B/conn")
		})
	}
}

func cpuSeconds(r *control.Result) float64 { return r.Usage.UserSeconds + r.Usage.SystemSeconds }
