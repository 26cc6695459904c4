package table

import (
	"slices"
	"strconv"
	"strings"
)

// Footnotes gathers what must be said of single cells, each text once.
type Footnotes struct{ texts []string }

// Mark is the mark of a text, "¹" for the first; "" for no text.
func (n *Footnotes) Mark(text string) string {
	if text == "" {
		return ""
	}
	at := slices.Index(n.texts, text)
	if at < 0 {
		at = len(n.texts)
		n.texts = append(n.texts, text)
	}
	return superscript.Replace(strconv.Itoa(at + 1))
}

// Lines are the notes with their marks, to stand below the table.
func (n *Footnotes) Lines() []string {
	var lines []string
	for _, text := range n.texts {
		lines = append(lines, n.Mark(text)+" "+text)
	}
	return lines
}

var superscript = strings.NewReplacer("0", "⁰", "1", "¹", "2", "²", "3", "³", "4", "⁴", "5", "⁵", "6", "⁶", "7", "⁷", "8", "⁸", "9", "⁹")
