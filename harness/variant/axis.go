package variant

import (
	"fmt"
	"slices"
	"strings"

	"connbench/servers/contract"
)

// What may be below a protocol, besides TCP.
const (
	SecurityNone    = "none"        // nothing
	SecurityTLS     = "tls"         // TLS 1.3, each connection with a full handshake
	SecurityResumed = "tls-resumed" // TLS 1.3, all connections resume one session (RFC 8446 section 2.2)
)

// CompressionNone is no compression of messages; the others are [contract.Compressions].
const CompressionNone = "none"

// Layers are the ways in which each program is to be measured, by axis. An empty list stands for
// the first of the axis: WebSocket, and no layer.
type Layers struct {
	Protocol, Security, Compression []string
	// Broadcast says that messages are to go to all connections: programs count only with the
	// protocols in which they can do that.
	Broadcast bool
}

// Axis is one way in which the same program can be asked to work differently.
type Axis struct {
	// Key is its name in a plan, and Values are all that there are.
	Key    string
	Values []string
	// none is the value that every program has, "" where there is none.
	none string
	// cannot says of programs that have none of the values that are asked for.
	cannot func(asked []string) string
	// Hint says what to do if no program has any of them.
	Hint string

	list func(*Layers) *[]string
	// had are the values that a choice has, that of its own name first.
	had func(Choice) []string
	set func(*Choice, string)
}

// Axes are all of them, the protocol first. The name of a program has what is asked of it, in
// this order.
var Axes = []Axis{
	{
		Key: "protocol", Values: contract.Protocols,
		cannot: func(asked []string) string { return "do not speak " + strings.Join(asked, " or ") },
		Hint:   "take others, or state protocol in the plan: connbench variants lists what each speaks",
		list:   func(l *Layers) *[]string { return &l.Protocol },
		had:    func(c Choice) []string { return c.speaks() },
		set:    func(c *Choice, value string) { c.Protocol = unlessWebSocket(value) },
	},
	{
		Key: "security", Values: []string{SecurityNone, SecurityTLS, SecurityResumed}, none: SecurityNone,
		cannot: func([]string) string { return "cannot do TLS" },
		Hint:   `take some whose variant.toml has security = ["tls"]`,
		list:   func(l *Layers) *[]string { return &l.Security },
		had: func(c Choice) []string {
			if slices.Contains(c.Security, SecurityTLS) {
				return []string{SecurityNone, SecurityTLS, SecurityResumed}
			}
			return []string{SecurityNone}
		},
		set: func(c *Choice, value string) { c.Secured = unless(value, SecurityNone) },
	},
	{
		Key: "compression", Values: slices.Concat([]string{CompressionNone}, contract.Compressions), none: CompressionNone,
		cannot: func(asked []string) string { return "cannot do " + strings.Join(asked, " or ") },
		Hint:   "take others: connbench variants lists how each compresses",
		list:   func(l *Layers) *[]string { return &l.Compression },
		had: func(c Choice) []string {
			if c.Protocol != "" {
				return []string{CompressionNone} // only WebSocket has messages that can be compressed
			}
			return slices.Concat([]string{CompressionNone}, c.Compression)
		},
		set: func(c *Choice, value string) { c.Compressed = unless(value, CompressionNone) },
	},
}

// Asked are the values that are asked for, at least one.
func (a Axis) Asked(layers Layers) []string {
	if asked := *a.list(&layers); len(asked) > 0 {
		return asked
	}
	return a.Values[:1]
}

// Check is an error unless a list holds values of the axis.
func (a Axis) Check(list []string) error {
	for i, value := range list {
		switch {
		case slices.Contains(list[:i], value):
			return fmt.Errorf("%s has %q twice", a.Key, value)
		case !slices.Contains(a.Values, value):
			return fmt.Errorf("%s has %q: it holds some of %s", a.Key, value, quoted(a.Values))
		}
	}
	return nil
}

// Able returns the choices that have at least one of the values that are asked for, besides what
// every program has, and says which it leaves out.
func (a Axis) Able(choices []Choice, layers Layers, say func(format string, args ...any)) (able []Choice) {
	asked := slices.DeleteFunc(slices.Clone(a.Asked(layers)), func(value string) bool { return value == a.none })
	if len(asked) == 0 {
		return choices
	}
	can := func(c Choice) bool {
		return slices.ContainsFunc(asked, func(value string) bool { return slices.Contains(a.had(c), value) })
	}
	return only(choices, can, a.cannot(asked), say)
}

// Broadcasting returns the choices that can do what [Layers.Broadcast] asks for in one of the
// protocols that are asked for, and says which it leaves out.
func Broadcasting(choices []Choice, layers Layers, say func(format string, args ...any)) []Choice {
	if !layers.Broadcast {
		return choices
	}
	asked := Axes[0].Asked(layers)
	can := func(c Choice) bool {
		return slices.ContainsFunc(c.Broadcast, func(spoken string) bool { return slices.Contains(asked, spoken) })
	}
	return only(choices, can, "cannot broadcast over "+strings.Join(asked, " or "), say)
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

// Able returns the choices that are able by each axis, and says which it leaves out.
func Able(choices []Choice, layers Layers, say func(format string, args ...any)) []Choice {
	for _, a := range Axes {
		choices = a.Able(choices, layers, say)
	}
	return Broadcasting(choices, layers, say)
}

// Expand returns each program once for each combination of what is asked for and it has. What is
// asked of it is added to its name ("floor+tcp", "gws+tls+deflate"), but for what it does by itself.
func Expand(programs []Program, layers Layers) []Program {
	for _, a := range Axes {
		var expanded []Program
		for _, value := range a.Asked(layers) {
			for _, p := range programs { // two builds of one stay neighbours
				had := a.had(p.Choice)
				if !slices.Contains(had, value) {
					continue
				}
				if value != had[0] {
					p.Name = With(p.Name, value)
				}
				a.set(&p.Choice, value)
				expanded = append(expanded, p)
			}
		}
		programs = expanded
	}
	return slices.DeleteFunc(programs, func(p Program) bool { return layers.Broadcast && !p.Broadcasts() })
}

// withLayer separates a variant's name from a layer.
const withLayer = "+"

// With returns the name of a variant with a layer.
func With(name, layer string) string { return name + withLayer + layer }

// Bare returns a choice without all its layers, as a plan can name it: "floor/tuned" of
// "floor+http/tuned".
func Bare(choice string) string {
	name, class, classed := strings.Cut(choice, "/")
	name, _, _ = strings.Cut(name, withLayer)
	if classed {
		name += "/" + class
	}
	return name
}

// Plain returns the name of a variant without the layer that [Expand] has added.
func Plain(name, layer string) string {
	if layer == "" {
		return name
	}
	parts := strings.Split(name, withLayer)
	return strings.Join(slices.DeleteFunc(parts, func(part string) bool { return part == layer }), withLayer)
}

// speaks are the protocols that v speaks, at least one.
func (v Variant) speaks() []string {
	if len(v.Protocols) == 0 {
		return []string{contract.ProtocolWebSocket}
	}
	return v.Protocols
}

// unlessWebSocket is "" for WebSocket.
func unlessWebSocket(spoken string) string { return unless(spoken, contract.ProtocolWebSocket) }

// unless is value, or "" if that is none.
func unless(value, none string) string {
	if value == none {
		return ""
	}
	return value
}
