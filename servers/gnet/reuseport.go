//go:build reuseport

package main

// reusePort is for the variant gnet-reuseport: each loop has a listener of its own (SO_REUSEPORT).
const reusePort = true
