package packet

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
)

// numbers makes initial sequence numbers (RFC 6528): a clock of 4 µs, plus what a
// secret and the tuple make, so that who knows that of one connection cannot guess
// that of another. The function is CBC-MAC with AES, which for input of one length
// is a pseudo-random function.
type numbers struct {
	secret cipher.Block
	text   [48]byte // both addresses and ports; the rest of the last block is zero
	mac    [aes.BlockSize]byte
}

func newNumbers() (n numbers, err error) {
	var key [16]byte
	if _, err := rand.Read(key[:]); err != nil {
		return n, err
	}
	n.secret, err = aes.NewCipher(key[:])
	return n, err
}

func (n *numbers) initial(t tuple, now int64) uint32 {
	from, to := t.from.Addr().As16(), t.to.Addr().As16()
	copy(n.text[:], from[:])
	copy(n.text[16:], to[:])
	binary.BigEndian.PutUint16(n.text[32:], t.from.Port())
	binary.BigEndian.PutUint16(n.text[34:], t.to.Port())
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
