package exam

import "connbench/servers/contract"

// Program is a server to be examined.
type Program struct {
	// Command is the program and its first arguments; those that say the
	// options follow them.
	Command []string
	// Env is added to the environment, each entry KEY=value.
	Env []string
	// Options are passed on to the server, except for Listen, which every check
	// chooses for itself. A few checks vary one of the others. MaxMessage must be
	// at least 4 KiB, so that the other checks need not care for it.
	Options contract.Options
}

// Case is a check that can be carried out.
type Case struct {
	Name, Title string
	Run         func(*Exam)
}
