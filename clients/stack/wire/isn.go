package wire

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
)

// ISN makes initial sequence numbers (RFC 6528): a clock of 4 µs, plus what a
// secret and the tuple make, so that who knows that of one connection cannot guess
// that of another. The function is CBC-MAC with AES, which for input of one length
// is a pseudo-random function.
type ISN struct {
	secret cipher.Block
	text   [48]byte // both addresses and ports; the rest of the last block is zero
	mac    [aes.BlockSize]byte
}

// NewISN returns numbers of a secret of their own.
func NewISN() (n ISN, err error) {
	var key [16]byte
	if _, err := rand.Read(key[:]); err != nil {
		return n, err
	}
	n.secret, err = aes.NewCipher(key[:])
	return n, err
}

// Initial is the number for a tuple at a time in nanoseconds.
func (n *ISN) Initial(t Tuple, now int64) uint32 {
	from, to := t.From.Addr().As16(), t.To.Addr().As16()
	copy(n.text[:], from[:])
	copy(n.text[16:], to[:])
	binary.BigEndian.PutUint16(n.text[32:], t.From.Port())
	binary.BigEndian.PutUint16(n.text[34:], t.To.Port())
	block := n.mac[:]
	clear(block)
	for at := 0; at < len(n.text); at += aes.BlockSize {
		for k := range block {
			block[k] ^= n.text[at+k]
		}
		n.secret.Encrypt(block, block)
	}
	const tick = 4000 // nanoseconds (RFC 9293 section 3.4.1)
	return binary.BigEndian.Uint32(block) + uint32(now/tick)
}
