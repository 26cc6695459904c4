//go:build !edge

package main

const edgeTriggered = false
