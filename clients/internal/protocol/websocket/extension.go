package websocket

import (
	"strconv"
	"strings"

	"connbench/clients/control"
)

// extension is the name of the extension of RFC 7692, and the others are its parameters.
const (
	extension        = "permessage-deflate"
	serverNoTakeover = "server_no_context_takeover"
	clientNoTakeover = "client_no_context_takeover"
	serverWindow     = "server_max_window_bits"
	leastBits        = 8
	mostBits         = 15
)

// offers are what is asked for. With context takeover the server may have a window as large as
// it likes, and has to keep one for our messages. client_max_window_bits is not offered: the
// server must not bound our window then, to which messages were compressed once.
var offers = map[string]string{
	control.CompressionDeflate:  extension + "; " + serverNoTakeover + "; " + clientNoTakeover,
	control.CompressionTakeover: extension,
}

// checkExtension checks what the server says of extensions. The error is ErrNoCompression if it
// agrees to another compression than the one that was asked for, and ErrBadAccept if it says
// what no server may (RFC 7692 section 7.1).
func checkExtension(compression string, value []byte) error {
	if compression == "" {
		return ErrBadAccept // none was asked for
	}
	parts := strings.Split(string(value), ";")
	if strings.TrimSpace(parts[0]) != extension {
		return ErrBadAccept
	}
	given := map[string]bool{}
	for _, part := range parts[1:] {
		name, value, hasValue := strings.Cut(part, "=")
		name, value = strings.TrimSpace(name), strings.TrimSpace(value)
		if given[name] {
			return ErrBadAccept
		}
		given[name] = true
		switch name {
		case serverNoTakeover, clientNoTakeover:
			if hasValue {
				return ErrBadAccept
			}
		case serverWindow:
			if !isWindow(value) {
				return ErrBadAccept
			}
		default: // client_max_window_bits among them: it was not offered
			return ErrBadAccept
		}
	}
	if takeover := compression == control.CompressionTakeover; takeover == given[serverNoTakeover] {
		return ErrNoCompression
	}
	return nil
}

// isWindow says whether a value is a size of a window (RFC 7692 section 7.1.2): in decimal,
// without zeros in front, possibly quoted.
func isWindow(value string) bool {
	if len(value) > 2 && value[0] == '"' && value[len(value)-1] == '"' {
		value = value[1 : len(value)-1]
	}
	bits, err := strconv.Atoi(value)
	return err == nil && leastBits <= bits && bits <= mostBits && value == strconv.Itoa(bits)
}
