package variant

import (
	"fmt"
	"slices"
	"strings"

	"connbench/servers/contract"
)

// Speaking returns the choices that speak at least one of the protocols, and says which it leaves
// out. Without protocols, WebSocket is meant.
func Speaking(choices []Choice, protocols []string, say func(format string, args ...any)) (able []Choice) {
	protocols = orWebSocket(protocols)
	speaks := func(c Choice) bool {
		return slices.ContainsFunc(protocols, func(spoken string) bool { return slices.Contains(c.speaks(), spoken) })
	}
	return only(choices, speaks, "do not speak "+strings.Join(protocols, " or "), say)
}

// Broadcasting returns the choices that can send a message to all connections, and says which it
// leaves out.
func Broadcasting(choices []Choice, say func(format string, args ...any)) []Choice {
	return only(choices, func(c Choice) bool { return c.Broadcast }, "cannot broadcast", say)
}

// only returns the choices that can do something, and says which cannot.
func only(choices []Choice, can func(Choice) bool, cannot string, say func(format string, args ...any)) (able []Choice) {
	var without []string
	for _, c := range choices {
		if can(c) {
			able = append(able, c)
		} else if !slices.Contains(without, c.Name) {
			without = append(without, c.Name)
		}
	}
	if len(without) > 0 {
		say("left out, because they %s: %s", cannot, strings.Join(without, ", "))
	}
	return able
}

// ByProtocol returns each program once for each of the protocols that it speaks, which is added
// to its name ("floor+tcp") unless it is the first that it speaks. Without protocols, WebSocket
// is meant.
func ByProtocol(programs []Program, protocols []string) (expanded []Program) {
	for _, spoken := range orWebSocket(protocols) {
		for _, p := range programs { // two builds of one stay neighbours
			if !slices.Contains(p.speaks(), spoken) {
				continue
			}
			speaking := p
			speaking.Protocol = unlessWebSocket(spoken)
			if spoken != p.speaks()[0] {
				speaking.Name = With(p.Name, spoken)
			}
			expanded = append(expanded, speaking)
		}
	}
	return expanded
}

// speaks are the protocols that v speaks, at least one.
func (v Variant) speaks() []string { return orWebSocket(v.Protocols) }

func orWebSocket(protocols []string) []string {
	if len(protocols) == 0 {
		return []string{contract.ProtocolWebSocket}
	}
	return protocols
}

// unlessWebSocket is "" for WebSocket.
func unlessWebSocket(spoken string) string {
	if spoken == contract.ProtocolWebSocket {
		return ""
	}
	return spoken
}

// CheckProtocol is an error unless spoken is one of [contract.Protocols].
func CheckProtocol(key, spoken string) error {
	if !slices.Contains(contract.Protocols, spoken) {
		return fmt.Errorf("%s has %q: it holds some of %s", key, spoken, quoted(contract.Protocols))
	}
	return nil
}
