package variant

import (
	"fmt"
	"slices"
	"strings"
)

// What may be below a protocol, besides TCP.
const (
	SecurityNone    = "none"        // nothing
	SecurityTLS     = "tls"         // TLS 1.3, each connection with a full handshake
	SecurityResumed = "tls-resumed" // TLS 1.3, all connections resume one session (RFC 8446 section 2.2)
)

// Securities are all of them.
var Securities = []string{SecurityNone, SecurityTLS, SecurityResumed}

// Securable returns the choices that support all the layers, and says which it leaves out.
func Securable(choices []Choice, layers []string, say func(format string, args ...any)) (able []Choice) {
	if !slices.ContainsFunc(layers, func(layer string) bool { return layer != SecurityNone }) {
		return choices
	}
	speaksTLS := func(c Choice) bool { return slices.Contains(c.Security, SecurityTLS) }
	return only(choices, speaksTLS, "cannot do TLS", say)
}

// BySecurity returns each program once for each of the layers, which is added to its name
// ("gnet+tls") unless it is [SecurityNone]. Without layers it returns the programs as they are.
func BySecurity(programs []Program, layers []string) (expanded []Program) {
	if len(layers) == 0 {
		return programs
	}
	for _, layer := range layers {
		for _, p := range programs { // two builds of one stay neighbours
			secured := p
			if layer != SecurityNone {
				secured.Name, secured.Secured = With(p.Name, layer), layer
			}
			expanded = append(expanded, secured)
		}
	}
	return expanded
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

// Plain returns the name of a variant without the layer that [BySecurity] or [ByProtocol] has
// added.
func Plain(name, layer string) string {
	if layer == "" {
		return name
	}
	return strings.Replace(name, withLayer+layer, "", 1)
}

// CheckSecurity is an error unless layer is one of [Securities].
func CheckSecurity(layer string) error {
	if !slices.Contains(Securities, layer) {
		return fmt.Errorf("security has %q: it holds some of %s", layer, quoted(Securities))
	}
	return nil
}
