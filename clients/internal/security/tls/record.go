package tls

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"encoding/binary"
	"hash"

	"golang.org/x/crypto/chacha20poly1305"

	"connbench/clients/control"
	"connbench/clients/internal/engine"
)

// Sizes of records in bytes (RFC 8446 sections 5.1 and 5.2).
const (
	headerBytes       = 5
	largestPlaintext  = 1 << 14
	largestCiphertext = largestPlaintext + 256
	largestRecord     = headerBytes + largestCiphertext
)

// largestMessage is the largest handshake message accepted after the handshake, in bytes.
// Session tickets are far smaller.
const largestMessage = 64 << 10

// Types of records (RFC 8446 section 5.1), of messages (section 4), and the one alert that is
// no error (section 6.1).
const (
	typeAlert     = 21
	typeHandshake = 22
	typeData      = 23

	messageTicket    = 4
	messageKeyUpdate = 24

	alertCloseNotify = 0
)

// suite is a cipher suite of TLS 1.3 (RFC 8446 appendix B.4).
type suite struct {
	hash     func() hash.Hash
	keyBytes int
	aead     func(key []byte) (cipher.AEAD, error)
}

var suites = map[uint16]*suite{
	tls.TLS_AES_128_GCM_SHA256:       {sha256.New, 16, newGCM},
	tls.TLS_AES_256_GCM_SHA384:       {sha512.New384, 32, newGCM},
	tls.TLS_CHACHA20_POLY1305_SHA256: {sha256.New, 32, chacha20poly1305.New},
}

func newGCM(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// half holds the keys of one direction of a connection.
type half struct {
	secret   [sha512.Size384]byte
	key      [32]byte
	iv       [12]byte
	sequence uint64
}

// begin derives key and IV from a traffic secret (RFC 8446 section 7.3).
func (h *half) begin(s *suite, secret []byte) {
	*h = half{}
	copy(h.secret[:], secret)
	copy(h.key[:], expand(s, secret, "key", s.keyBytes))
	copy(h.iv[:], expand(s, secret, "iv", len(h.iv)))
}

// update moves to the next traffic secret (RFC 8446 section 7.2).
func (h *half) update(s *suite) {
	size := s.hash().Size()
	h.begin(s, expand(s, h.secret[:size], "traffic upd", size))
}

// cipher returns the cipher and the nonce of the next record (RFC 8446 section 5.3).
func (h *half) cipher(s *suite) (cipher.AEAD, [12]byte) {
	aead, err := s.aead(h.key[:s.keyBytes])
	if err != nil {
		panic(err) // the size of the key is wrong
	}
	nonce := h.iv
	last := nonce[len(nonce)-8:]
	binary.BigEndian.PutUint64(last, binary.BigEndian.Uint64(last)^h.sequence)
	h.sequence++
	return aead, nonce
}

// expand is HKDF-Expand-Label with an empty context (RFC 8446 section 7.1).
func expand(s *suite, secret []byte, label string, size int) []byte {
	info := binary.BigEndian.AppendUint16(nil, uint16(size))
	info = append(info, byte(len("tls13 ")+len(label)))
	info = append(info, "tls13 "...)
	info = append(info, label...)
	info = append(info, 0)
	key, err := hkdf.Expand(s.hash, secret, string(info), size)
	if err != nil {
		panic(err) // the size is too large for the hash
	}
	return key
}

// cutRecord splits the first record from p. It returns nil if the record is incomplete. Bytes
// that cannot be a record are returned as one, so that its reader refuses them.
func cutRecord(p []byte) (record, rest []byte) {
	if len(p) < headerBytes {
		return nil, p
	}
	size := headerBytes + int(binary.BigEndian.Uint16(p[3:]))
	if size > largestRecord {
		return p, nil
	}
	if len(p) < size {
		return nil, p
	}
	return p[:size], p[size:]
}

// seal returns an encrypted record for connection i. It is valid until the next call.
func (l *layer) seal(i int, kind byte, p []byte) []byte {
	c := &l.conns[i]
	aead, nonce := c.out.cipher(c.suite)
	inner := len(p) + 1
	b := append(l.sealed[:0], typeData, 3, 3)
	b = binary.BigEndian.AppendUint16(b, uint16(inner+aead.Overhead()))
	b = append(b, p...)
	b = append(b, kind)
	l.sealed = aead.Seal(b[:headerBytes], nonce[:], b[headerBytes:], b[:headerBytes])
	return l.sealed
}

// unseal decrypts a record of connection i, and returns its inner type and content.
func (l *layer) unseal(i int, record []byte) (kind byte, p []byte, err error) {
	c := &l.conns[i]
	header := record[:headerBytes]
	if header[0] != typeData || len(record) > largestRecord {
		return 0, nil, control.BadRecord
	}
	aead, nonce := c.in.cipher(c.suite)
	p, err = aead.Open(l.opened[:0], nonce[:], record[headerBytes:], header)
	if err != nil {
		return 0, nil, control.BadRecord
	}
	// The type is the last byte that is not 0: before it is the content, behind it padding.
	end := len(p) - 1
	for end >= 0 && p[end] == 0 {
		end--
	}
	if end < 0 || end > largestPlaintext {
		return 0, nil, control.BadRecord
	}
	return p[end], p[:end], nil
}

// records takes bytes of an open connection.
func (b below) records(i int, p []byte) {
	var kept []byte
	if len(b.partial) > 0 {
		if kept = b.partial[i]; kept != nil {
			kept = append(kept, p...)
			p = kept
			delete(b.partial, i)
		}
	}
	for b.conns[i].stage == open {
		record, rest := cutRecord(p)
		if record == nil {
			break
		}
		p = rest
		if err := b.record(i, record); err != nil {
			b.fail(i, engine.Failure{Err: err})
		}
	}
	if len(p) > 0 && b.conns[i].stage == open {
		b.partial[i] = append(kept[:0], p...)
	}
}

// record takes a record of an open connection.
func (b below) record(i int, record []byte) error {
	kind, p, err := b.unseal(i, record)
	if err != nil {
		return err
	}
	if b.student == i {
		b.teach(i, record)
	}
	switch kind {
	case typeData:
		if len(b.messages[i]) > 0 {
			return control.BadRecord // a handshake message is not to be interrupted
		}
		if len(p) > 0 {
			b.above.Data(i, p)
		}
		return nil
	case typeHandshake:
		return b.message(i, p)
	case typeAlert:
		if len(p) == 2 && p[1] == alertCloseNotify {
			return control.Closed
		}
		return control.Alert
	}
	return control.BadRecord
}

// message takes handshake messages, whole or in pieces, that arrive after the handshake.
func (b below) message(i int, p []byte) error {
	if len(p) == 0 {
		return control.BadRecord // RFC 8446 section 5.4
	}
	kept := append(b.messages[i], p...)
	delete(b.messages, i)
	p = kept
	for len(p) >= 4 {
		size := 4 + int(p[1])<<16 + int(binary.BigEndian.Uint16(p[2:]))
		if size > largestMessage {
			return control.BadRecord
		}
		if len(p) < size {
			break
		}
		message := p[:size]
		p = p[size:]
		switch message[0] {
		case messageTicket: // only the student needs it
		case messageKeyUpdate:
			if len(p) > 0 || len(message) != 5 || message[4] > 1 {
				return control.BadRecord
			}
			return b.updateIn(i, message[4] == 1)
		default:
			return control.BadRecord
		}
	}
	if len(p) > 0 && len(p) < len(kept) {
		kept = append(kept[:0], p...)
	}
	if len(p) > 0 {
		b.messages[i] = kept // not copied: a message may come in very many records
	}
	return nil
}

// updateIn switches to the peer's next key, and sends an update of ours if the peer asks for
// one (RFC 8446 section 4.6.3).
func (b below) updateIn(i int, asked bool) error {
	c := &b.conns[i]
	c.in.update(c.suite)
	switch {
	case !asked:
		return nil
	case b.waiting(i) != nil:
		c.owed = true
		return nil
	}
	return b.updateOut(i)
}

// updateOut announces our next key, and switches to it.
func (l *layer) updateOut(i int) error {
	c := &l.conns[i]
	c.owed = false
	_, err := l.push(i, l.seal(i, typeHandshake, []byte{messageKeyUpdate, 0, 0, 1, 0}))
	c.out.update(c.suite)
	return err
}
