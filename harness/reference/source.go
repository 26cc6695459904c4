// Package reference generates the reference pages of plans, records and phases from the
// code: the comment of a field is its documentation.
//
// Write these comments for readers who do not know Go. To refer to another field or to a
// constant, use a doc link, such as "[Trial.Invalid]" or "[StateFinished]": pages then show
// the field's name in the file, or the constant's value.
package reference

import (
	"errors"
	"fmt"
	"go/ast"
	"go/doc/comment"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"sync"
)

// Field is one member of an object in a file.
type Field struct {
	// Name is the member's name in the file.
	Name string
	// Doc is the comment of the field as Markdown, without the name of the field.
	Doc string
	// Optional is true where the member may be left out.
	Optional bool
	// Type is the field's, and Index leads to it from the struct.
	Type  reflect.Type
	Index []int
}

// Of returns the comment of a struct type as Markdown, and its fields in order, including
// those of embedded structs. tag is "json" or "toml". It returns an error if a field has no
// comment, or one that cannot be shown.
func Of(kind reflect.Type, tag string) (doc string, fields []Field, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("%s: %w", kind, err)
		}
	}()
	source, err := sourceOf(kind)
	if err != nil {
		return "", nil, err
	}
	if doc, err = source.markdown(kind.Name(), source.doc); err != nil {
		return "", nil, err
	}
	for i := range kind.NumField() {
		field := kind.Field(i)
		name, options, _ := strings.Cut(field.Tag.Get(tag), ",")
		switch {
		case !field.IsExported() && !field.Anonymous, name == "-":
			continue
		case field.Anonymous && name == "":
			_, embedded, err := Of(field.Type, tag)
			if err != nil {
				return "", nil, err
			}
			for _, f := range embedded {
				f.Index = append([]int{i}, f.Index...)
				fields = append(fields, f)
			}
			continue
		}
		text, err := source.markdown(field.Name, source.fields[field.Name])
		if err != nil {
			return "", nil, fmt.Errorf("field %s: %w", field.Name, err)
		}
		fields = append(fields, Field{Name: name, Doc: text, Optional: options == "omitempty", Type: field.Type, Index: []int{i}})
	}
	return doc, fields, nil
}

// source is the source of one type.
type source struct {
	pkg    *pkg
	doc    string
	fields map[string]string
	// imports are the import paths of the type's file, by package name.
	imports map[string]string
}

// pkg is the source of a package.
type pkg struct {
	types map[string]*source
	// constants are the values of string constants.
	constants map[string]string
	// members are the names of fields in files, by "Type.Field".
	members map[string]string
}

func sourceOf(kind reflect.Type) (*source, error) {
	read, err := packageAt(kind.PkgPath())
	if err != nil {
		return nil, err
	}
	found := read.types[kind.Name()]
	if found == nil {
		return nil, errors.New("its source was not found")
	}
	return found, nil
}

var (
	packagesLock sync.Mutex
	packages     = map[string]*pkg{}
)

// packageAt reads a package, once. An external test package is in the folder of the package
// that it tests.
func packageAt(importPath string) (*pkg, error) {
	packagesLock.Lock()
	defer packagesLock.Unlock()
	if packages[importPath] == nil {
		read, err := readPackage(importPath)
		if err != nil {
			return nil, err
		}
		packages[importPath] = read
	}
	return packages[importPath], nil
}

func readPackage(importPath string) (*pkg, error) {
	root, module, err := moduleRoot()
	if err != nil {
		return nil, err
	}
	below, within := strings.CutPrefix(importPath, module+"/")
	if !within {
		return nil, fmt.Errorf("%s is not part of module %s", importPath, module)
	}
	folder := filepath.Join(root, filepath.FromSlash(strings.TrimSuffix(below, "_test")))
	names, err := filepath.Glob(filepath.Join(folder, "*.go"))
	if err != nil {
		return nil, err
	}
	read := &pkg{types: map[string]*source{}, constants: map[string]string{}, members: map[string]string{}}
	for _, name := range names {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		read.addFile(file)
	}
	return read, nil
}

// moduleRoot finds the folder of go.mod above the working directory, and the path of
// the module.
func moduleRoot() (folder, module string, err error) {
	if folder, err = os.Getwd(); err != nil {
		return "", "", err
	}
	for {
		text, err := os.ReadFile(filepath.Join(folder, "go.mod"))
		if err == nil {
			line, _, _ := strings.Cut(string(text), "\n")
			return folder, strings.TrimSpace(strings.TrimPrefix(line, "module ")), nil
		}
		if !errors.Is(err, fs.ErrNotExist) || folder == filepath.Dir(folder) {
			return "", "", errors.New("the source is not here: no go.mod in this folder or above")
		}
		folder = filepath.Dir(folder)
	}
}

func (p *pkg) addFile(file *ast.File) {
	imports := map[string]string{}
	for _, spec := range file.Imports {
		to, _ := strconv.Unquote(spec.Path.Value) // the parser has checked the syntax
		name := path.Base(to)
		if spec.Name != nil {
			name = spec.Name.Name
		}
		imports[name] = to
	}
	for _, declaration := range file.Decls {
		general, is := declaration.(*ast.GenDecl)
		if !is {
			continue
		}
		for _, spec := range general.Specs {
			switch spec := spec.(type) {
			case *ast.ValueSpec:
				p.addConstants(spec)
			case *ast.TypeSpec:
				text := spec.Doc.Text()
				if text == "" {
					text = general.Doc.Text()
				}
				p.addType(spec, text, imports)
			}
		}
	}
}

func (p *pkg) addConstants(spec *ast.ValueSpec) {
	for i, name := range spec.Names {
		if i >= len(spec.Values) {
			return
		}
		if value, is := spec.Values[i].(*ast.BasicLit); is && value.Kind == token.STRING {
			p.constants[name.Name], _ = strconv.Unquote(value.Value)
		}
	}
}

func (p *pkg) addType(spec *ast.TypeSpec, text string, imports map[string]string) {
	of := &source{pkg: p, doc: text, fields: map[string]string{}, imports: imports}
	p.types[spec.Name.Name] = of
	structure, is := spec.Type.(*ast.StructType)
	if !is {
		return
	}
	for _, field := range structure.Fields.List {
		for _, name := range field.Names {
			of.fields[name.Name] = field.Doc.Text()
			if field.Tag != nil {
				p.members[spec.Name.Name+"."+name.Name] = memberName(field.Tag.Value)
			}
		}
	}
}

// memberName returns the name in files of a field with this tag.
func memberName(literal string) string {
	tag, _ := strconv.Unquote(literal)
	for _, key := range []string{"toml", "json"} {
		if name, _, _ := strings.Cut(reflect.StructTag(tag).Get(key), ","); name != "" && name != "-" {
			return name
		}
	}
	return ""
}

// markdown returns a comment as Markdown, without the name that it begins with.
func (s *source) markdown(name, text string) (string, error) {
	if strings.TrimSpace(text) == "" {
		return "", errors.New("it has no comment of its own")
	}
	rest, begins := strings.CutPrefix(text, name+" ")
	if !begins {
		return "", fmt.Errorf("its comment does not begin with its name: %.40q", text)
	}
	for _, verb := range []string{"is ", "are ", "says "} {
		rest = strings.TrimPrefix(rest, verb)
	}
	rest = strings.ToUpper(rest[:1]) + rest[1:]

	reader := comment.Parser{
		LookupPackage: func(name string) (string, bool) { to, is := s.imports[name]; return to, is },
		LookupSym:     func(string, string) bool { return true },
	}
	writer := markdownWriter{source: s}
	for i, block := range reader.Parse(rest).Content {
		if i > 0 {
			writer.WriteString("\n\n")
		}
		writer.block(block)
	}
	return writer.String(), writer.err
}

// markdownWriter writes a comment as Markdown.
type markdownWriter struct {
	strings.Builder
	source *source
	err    error
}

func (w *markdownWriter) block(block comment.Block) {
	switch block := block.(type) {
	case *comment.Paragraph:
		w.text(block.Text)
	case *comment.List:
		for i, item := range block.Items {
			if i > 0 {
				w.WriteString("\n")
			}
			w.WriteString("- ")
			for _, part := range item.Content {
				w.block(part)
			}
		}
	case *comment.Code:
		w.WriteString("```\n" + block.Text + "```")
	default:
		w.err = fmt.Errorf("a comment with %T cannot be shown", block)
	}
}

func (w *markdownWriter) text(parts []comment.Text) {
	for _, part := range parts {
		switch part := part.(type) {
		case comment.Plain:
			w.WriteString(strings.ReplaceAll(string(part), "\n", " "))
		case *comment.Link:
			w.WriteString("<" + part.URL + ">")
		case *comment.DocLink:
			name, err := w.source.named(part)
			if err != nil {
				w.err = err
			}
			w.WriteString("`" + name + "`")
		default:
			w.err = fmt.Errorf("a comment with %T cannot be shown", part)
		}
	}
}

// named returns the name in files of a field that a comment links to, or the value of a
// constant.
func (s *source) named(link *comment.DocLink) (string, error) {
	in := s.pkg
	if link.ImportPath != "" {
		var err error
		if in, err = packageAt(link.ImportPath); err != nil {
			return "", err
		}
	}
	name := strings.TrimPrefix(link.Recv+"."+link.Name, ".")
	if member := in.members[name]; member != "" {
		return member, nil
	}
	if value, is := in.constants[name]; is {
		return value, nil
	}
	return "", fmt.Errorf("its comment links to %s, which no file has: it is neither a field with a name in a file nor a constant of text", name)
}
