// Package text makes messages that can be compressed as well as those of real programs:
// records of JSON with names, numbers, times and words, all from a seed.
//
// A message begins with [HeadBytes] bytes of its own, which are no text. The rest is one of a
// few hundred bodies that all messages of a size share, so that each body has to be compressed
// only once.
package text

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"

	"connbench/clients/internal/splitmix"
)

// HeadBytes is the number of bytes at the start of a message that no other message has.
const HeadBytes = 8

// poolBytes is the size of all bodies of one size. It is many times a window of DEFLATE, so that
// a server which keeps its window rarely finds the same body in it again.
const poolBytes = 512 << 10

// mostBodies bounds the number of bodies of one size.
const mostBodies = 512

// Texts holds the bodies of all sizes that are in use.
type Texts struct {
	seed  uint64
	sizes map[int]*Bodies
}

// New returns texts without bodies. The same seed makes the same bodies.
func New(seed uint64) *Texts { return &Texts{seed: seed, sizes: map[int]*Bodies{}} }

// Prepare returns the bodies of messages of a size in bytes, which it makes the first time.
func (t *Texts) Prepare(size int) *Bodies {
	b := t.sizes[size]
	if b == nil {
		b = newBodies(t.seed, size)
		t.sizes[size] = b
	}
	return b
}

// Known returns the bodies of a size that was prepared, nil for another one.
func (t *Texts) Known(size int) *Bodies { return t.sizes[size] }

// Bodies are the bodies of all messages of one size.
type Bodies struct {
	size int
	all  []byte // one body after the other, each of size bytes
	n    uint64
}

func newBodies(seed uint64, size int) *Bodies {
	b := &Bodies{size: size, n: uint64(min(max(poolBytes/max(size, 1), 1), mostBodies))}
	if size <= HeadBytes {
		b.n = 1 // there is nothing to tell them apart by
	}
	w := writer{state: splitmix.Mix(seed ^ uint64(size))}
	for k := range b.n {
		for len(w.text) < (int(k)+1)*size {
			w.record()
		}
		w.text = w.text[:(int(k)+1)*size]
	}
	b.all = slices.Clip(w.text)
	return b
}

// Len returns the number of bodies.
func (b *Bodies) Len() int { return int(b.n) }

// Body returns what follows the head in message number k of the pool.
func (b *Bodies) Body(k int) []byte {
	return b.all[k*b.size+min(b.size, HeadBytes) : (k+1)*b.size]
}

// Index is the number of the body of a message that begins with the head, taken as a number in
// little endian.
func (b *Bodies) Index(head uint64) int { return int(head % b.n) }

// Fill writes into p the bytes from offset on of the message that begins with the head.
func (b *Bodies) Fill(p []byte, head uint64, offset int) {
	if offset < HeadBytes {
		var own [HeadBytes]byte
		binary.LittleEndian.PutUint64(own[:], head)
		n := copy(p, own[offset:])
		p, offset = p[n:], HeadBytes
	}
	if len(p) > 0 {
		copy(p, b.Body(b.Index(head))[offset-HeadBytes:])
	}
}

// IsMessage says whether p is the message that begins as it does.
func (b *Bodies) IsMessage(p []byte) bool {
	if len(p) != b.size || len(p) < HeadBytes {
		return false
	}
	return bytes.Equal(p[HeadBytes:], b.Body(b.Index(binary.LittleEndian.Uint64(p))))
}

// writer writes records of JSON.
type writer struct {
	state uint64
	text  []byte
}

// below draws a number below n.
func (w *writer) below(n int) int {
	w.state++
	return int(splitmix.Mix(w.state) % uint64(n))
}

// word draws a word. As in languages, a few words are far more frequent than the others.
func (w *writer) word() string { return words[w.below(1+w.below(len(words)))] }

// record appends one record.
func (w *writer) record() {
	w.text = fmt.Appendf(w.text, `{"id":%d,"user":"%s.%s","at":"2026-%02d-%02dT%02d:%02d:%02d.%03dZ","room":"%s","price":%d.%02d,"read":%t,"text":"`,
		w.below(1_000_000), w.word(), w.word(), 1+w.below(12), 1+w.below(28), w.below(24), w.below(60), w.below(60), w.below(1000), w.word(), w.below(500), w.below(100), w.below(2) == 0)
	for k := range 4 + w.below(12) {
		if k > 0 {
			w.text = append(w.text, ' ')
		}
		w.text = append(w.text, w.word()...)
	}
	w.text = append(w.text, "\"}\n"...)
}

// words are the words of the texts.
var words = makeWords()

// makeWords makes words of one to four syllables, the shortest first.
func makeWords() (list []string) {
	const consonants, vowels = "bcdfghklmnprstvw", "aeiou"
	w := writer{state: 1}
	for k := range 1200 {
		var word []byte
		for range 1 + k/300 {
			word = append(word, consonants[w.below(len(consonants))], vowels[w.below(len(vowels))])
			if w.below(3) == 0 {
				word = append(word, consonants[w.below(len(consonants))])
			}
		}
		list = append(list, string(word))
	}
	return list
}
