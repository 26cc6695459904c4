package worker

import (
	"testing"

	"connbench/clients/control"
	"connbench/clients/internal/peer"
	"connbench/clients/internal/protocol/http"
)

// hearOver takes part in a broadcast of 20 messages from one connection of HTTP to nine others.
func hearOver(t *testing.T, way string, board *peer.Board) control.Result {
	t.Helper()
	s := newTable(t, broadcastTo, setup{protocol: control.ProtocolHTTP, hear: way}, serveHTTP(t, board.ServeHTTP))
	rampTo(t, s, broadcastTo)
	report, err := Run(s, broadcastJob(1, true), func() bool { return false }, func(int, int64) {})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "no entries are held of connections at rest", func() bool {
		run(t, s, control.Command{Op: "hold", Seconds: 0.01}) // the answer to the last message may still come
		return s.Protocol().(*http.Protocol).Held() == 0
	})
	return report.Result
}

func TestBroadcastOverHTTP(t *testing.T) {
	t.Parallel()
	const hearers = broadcastTo - 1
	whole := func(message string) []string { return []string{message} }
	for _, test := range []struct {
		name                                    string
		spoil                                   func(n, k int, message string) []string
		abort                                   int
		sent                                    int64
		received, unanswered, corrupt, repeated int64
		lost                                    int
		streams                                 bool // only those can go wrong so
	}{
		{name: "perfect", sent: broadcasts, received: hearers * broadcasts},
		{name: "one connection gets nothing", sent: broadcasts, received: (hearers - 1) * broadcasts, unanswered: broadcasts, spoil: func(n, _ int, message string) []string {
			if n == 3 {
				return nil
			}
			return whole(message)
		}},
		{name: "every fourth message skips one connection", sent: broadcasts, received: hearers*broadcasts - 5, unanswered: 5, spoil: func(n, k int, message string) []string {
			if n == 3 && k%4 == 0 {
				return nil
			}
			return whole(message)
		}},
		{name: "every fourth twice", streams: true, sent: broadcasts, received: hearers * broadcasts, repeated: 5 * hearers, spoil: func(_, k int, message string) []string {
			if k%4 == 0 {
				return []string{message, message}
			}
			return whole(message)
		}},
		{name: "one wrong letter at one connection", sent: broadcasts, received: hearers*broadcasts - 1, corrupt: 1, spoil: func(n, k int, message string) []string {
			if n == 5 && k == 7 {
				other := byte('A')
				if message[50] == other {
					other = 'B'
				}
				message = message[:50] + string(other) + message[51:]
			}
			return whole(message)
		}},
		{name: "no base64 behind the message", sent: broadcasts, received: hearers*broadcasts - 1, corrupt: 1, spoil: func(n, k int, message string) []string {
			if n == 5 && k == 7 {
				message += "!"
			}
			return whole(message)
		}},
		{name: "something else", sent: broadcasts, received: hearers*broadcasts - 10, corrupt: 1, unanswered: 10, lost: 1, spoil: func(n, k int, message string) []string {
			if n == 2 && k == 10 {
				message = "hello"
			}
			return whole(message)
		}},
		{name: "the publisher is lost", abort: 9, sent: 10, received: 9 * hearers, unanswered: 11 * hearers, lost: 1},
	} {
		for _, way := range control.Hearings {
			if test.streams && way != control.HearEvents {
				continue
			}
			t.Run(test.name+", "+way, func(t *testing.T) {
				t.Parallel()
				board := peer.NewBoard()
				board.Spoil, board.Abort = test.spoil, test.abort
				r := hearOver(t, way, board)
				late := test.abort > 0 && r.Sent > test.sent // before the swarm learns of the end
				if r.Offered != hearers*broadcasts || r.Sent != test.sent && !late || r.Delivered+r.Late != test.received ||
					r.Unanswered != test.unanswered || r.Corrupt != test.corrupt || r.Counts[control.CountRepeated] != test.repeated || r.Lost != test.lost {
					t.Errorf("%d offered, %d sent, %d received, %d unanswered, %d corrupt, %d repeated, %d lost", r.Offered, r.Sent, r.Delivered+r.Late, r.Unanswered, r.Corrupt, r.Counts[control.CountRepeated], r.Lost)
				}
				if mute := r.Counts[control.CountMute] > 0; mute != (test.abort > 0) {
					t.Errorf("counts %v", r.Counts)
				}
			})
		}
	}
}

// A server that lets nobody hear is refused: it answers as if nobody had asked for anything.
func TestHearNothing(t *testing.T) {
	for _, way := range control.Hearings {
		s := newTable(t, 2, setup{protocol: control.ProtocolHTTP, hear: way}, serveHTTP(t, echoBodies))
		report := run(t, s, control.Command{Op: "ramp", Connections: 2, Window: 1})
		if kind := (control.FailureKind{Phase: control.PhaseHandshake, Error: control.BadAnswer}); len(report.Failures) != 1 || report.Failures[0].Kind() != kind || report.Open != 1 {
			t.Errorf("%s: %d open, %v, want %s", way, report.Open, report.Failures, kind)
		}
	}
}
