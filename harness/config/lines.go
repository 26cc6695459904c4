package config

import (
	"fmt"
	"strings"

	"github.com/pelletier/go-toml/v2/unstable"
)

// lines says in which line of a file each key and table is, by their full names:
// "server.port", "host[1].name".
type lines map[string]int

// keyLines finds the lines of a text that is TOML.
func keyLines(text []byte) lines {
	found := lines{}
	var p unstable.Parser
	p.Reset(text)
	table := ""
	count := map[string]int{} // of the tables of an array, so far
	for p.NextExpression() {
		node := p.Expression()
		switch node.Kind {
		case unstable.KeyValue:
			found.add(&p, table, node)
		case unstable.Table:
			table, _ = found.note(&p, "", node)
		case unstable.ArrayTable:
			name, line := nameOf(&p, node)
			table = fmt.Sprintf("%s[%d]", name, count[name])
			count[name]++
			found[table] = line
		}
	}
	return found
}

// add notes the key of a pair, and those of an inline table that is its value.
func (l lines) add(p *unstable.Parser, table string, pair *unstable.Node) {
	name, _ := l.note(p, table, pair)
	if value := pair.Value(); value.Kind == unstable.InlineTable {
		for inner := value.Children(); inner.Next(); {
			l.add(p, name, inner.Node())
		}
	}
}

func (l lines) note(p *unstable.Parser, table string, node *unstable.Node) (name string, line int) {
	name, line = nameOf(p, node)
	name = join(table, name)
	l[name] = line
	return name, line
}

// nameOf is the key of a node, and its line.
func nameOf(p *unstable.Parser, node *unstable.Node) (name string, line int) {
	for part := node.Key(); part.Next(); {
		name = join(name, string(part.Node().Data))
		line = p.Shape(part.Node().Raw).Start.Line
	}
	return name, line
}

// where is the file, with the line of the key that a problem begins with: that of the
// table that it would be in, where it is not there.
func (l lines) where(file, problem string) string {
	key := problem
	if end := strings.IndexAny(key, ": "); end >= 0 {
		key = key[:end]
	}
	for key != "" {
		if line, known := l[key]; known {
			return fmt.Sprintf("%s:%d", file, line)
		}
		key = key[:max(0, strings.LastIndexAny(key, ".["))]
	}
	return file
}

// keyIn is the key in a line, "" where there is none.
func (l lines) keyIn(row int) string {
	longest := ""
	for key, line := range l {
		if line == row && len(key) > len(longest) {
			longest = key
		}
	}
	return longest
}
