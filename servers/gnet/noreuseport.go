//go:build !reuseport

package main

const reusePort = false
