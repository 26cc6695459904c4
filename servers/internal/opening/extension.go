package opening

import "bytes"

// offersDeflate says whether one of the offers in a list is permessage-deflate (RFC 7692) in a
// form that can be accepted without context takeover: the server does not bound its window, and
// has to decline an offer with a parameter that it does not know.
func offersDeflate(list []byte) bool {
	for len(list) > 0 {
		var offer []byte
		offer, list, _ = bytes.Cut(list, []byte(","))
		name, parameters, _ := bytes.Cut(offer, []byte(";"))
		if isOneOf(trim(name), "permessage-deflate") && areKnown(parameters) {
			return true
		}
	}
	return false
}

// areKnown says whether the parameters of an offer are valid (RFC 7692 section 7.1), and none
// asks to bound the window of the server.
func areKnown(parameters []byte) bool {
	var serverNoTakeover, clientNoTakeover, clientWindow bool
	once := func(given *bool) bool {
		again := *given
		*given = true
		return !again
	}
	for len(parameters) > 0 {
		var parameter []byte
		parameter, parameters, _ = bytes.Cut(parameters, []byte(";"))
		name, value, hasValue := bytes.Cut(parameter, []byte("="))
		valid := false
		switch name = trim(name); {
		case isOneOf(name, "server_no_context_takeover"):
			valid = !hasValue && once(&serverNoTakeover)
		case isOneOf(name, "client_no_context_takeover"):
			valid = !hasValue && once(&clientNoTakeover)
		case isOneOf(name, "client_max_window_bits"):
			valid = (!hasValue || isWindow(trim(value))) && once(&clientWindow)
		}
		if !valid {
			return false
		}
	}
	return true
}

// isWindow says whether a value is a size of a window: from 8 to 15, possibly in quotes.
func isWindow(value []byte) bool {
	if n := len(value); n > 2 && value[0] == '"' && value[n-1] == '"' {
		value = value[1 : n-1]
	}
	switch len(value) {
	case 1:
		return value[0] == '8' || value[0] == '9'
	case 2:
		return value[0] == '1' && '0' <= value[1] && value[1] <= '5'
	}
	return false
}
