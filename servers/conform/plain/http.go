package plain

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"connbench/servers/conform/exam"
	"connbench/servers/conform/frame"
	"connbench/servers/contract"
)

// HTTPChecks are those of HTTP alone.
var HTTPChecks = []exam.Case{
	{Name: "requests", Section: exam.Requests, Title: "takes requests in every form that HTTP allows, and keeps the connection", Run: checkRequests},
	{Name: "request-date", Section: exam.Requests, Title: "says in every answer when it was sent", Run: checkDate},
	{Name: "request-last", Section: exam.Requests, Title: "ends the connection after a request that says so", Run: checkLast},
	{Name: "request-malformed", Section: exam.Requests, Title: "refuses what is no request of HTTP/1.1", Run: checkMalformed},
	{Name: "request-chunks", Section: exam.Requests, Title: "takes content in chunks, or demands its length", Run: checkChunks},
	{Name: "request-stuck", Section: exam.Isolation, Title: "serves others while 256 connections stand in the middle of a request", Run: checkStuck},
	{Name: "limit", Section: exam.Sizes, Title: "refuses content longer than --max-message", Run: checkLimit},
}

func checkRequests(e *exam.Exam) {
	s := e.Start()
	c := s.Open()
	content := frame.Pattern(10)
	for what, request := range map[string]exam.Request{
		"a field in upper case":   exam.Get().To("POST / HTTP/1.1").And("CONTENT-LENGTH:10"),
		"space around a value":    exam.Get().To("POST / HTTP/1.1").And("Content-Length: \t10 "),
		"a query":                 exam.Post(10).To("POST /a/b?c=d&e HTTP/1.1"),
		"50 other fields":         exam.Post(10).And(strings.Join(slices.Repeat([]string{"X-Field: value"}, 50), "\r\n")),
		"an explicit keep-alive":  exam.Post(10).And("Connection: keep-alive"),
		"two fields of a kind":    exam.Post(10).And("Accept: a/b").And("Accept: c/d"),
		"a field without a value": exam.Post(10).And("X-Empty:"),
	} {
		c.Write("a POST with "+what, append(request.Bytes(), content...))
		c.ExpectEcho(content)
	}
	c.Write("a POST without content", exam.Post(0).Bytes())
	c.ExpectEcho(nil)
	c.Write("a GET", exam.Get().Bytes())
	c.ExpectEcho(nil)
	c.RoundTrip()
}

func checkDate(e *exam.Exam) {
	const section = "RFC 9110 section 6.6.1"
	c := e.Start().Open()
	for range 2 {
		before := time.Now()
		c.Write("a GET", exam.Get().Bytes())
		response, err := c.Response()
		if err != nil {
			c.Got(exam.Describe(err), "status 200", section)
		}
		_, err = io.Copy(io.Discard, response.Body)
		date, wrong := http.ParseTime(response.Header.Get("Date"))
		// Some servers look at the clock once a second, and a busy one is late with that.
		const stale = time.Minute
		if err != nil || wrong != nil || date.Before(before.Add(-stale)) || date.After(time.Now().Add(stale)) {
			c.Got(exam.QuoteField(response.Header, "Date"), "a Date of now", section)
		}
	}
}

func checkLast(e *exam.Exam) {
	s := e.Start()
	c := s.Open()
	content := frame.Pattern(20)
	c.Write("a POST with Connection: close", append(exam.Post(20).And("Connection: close").Bytes(), content...))
	c.ExpectEcho(content)
	c.ExpectEndOfBytes("RFC 9112 section 9.6")
	s.AwaitConnections(0)
}

func checkMalformed(e *exam.Exam) {
	s := e.Start()
	others := s.Company()
	for what, text := range map[string]string{
		"what is no request":         "220 ready\r\n\r\n",
		"bytes of TLS":               "\x16\x03\x01\x00\x05hello\r\n\r\n",
		"a request without a path":   "GET\r\nHost: x\r\n\r\n",
		"a length that is no number": "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: ten\r\n\r\n",
		"a negative length":          "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
	} {
		c := s.Connect()
		c.Write(what, []byte(text))
		c.ExpectRefusal("RFC 9112 section 3")
	}
	others.Served()
}

func checkChunks(e *exam.Exam) {
	s := e.Start()
	c := s.Open()
	c.Write("a POST with content in two chunks", []byte("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n"))
	const expected = "status 200 with the same content, or status 411"
	const section = "RFC 9112 section 7.1, RFC 9110 section 15.5.12"
	response, err := c.Response()
	if err != nil {
		c.Got(exam.Describe(err), expected, section)
	}
	content, err := io.ReadAll(response.Body)
	whole := err == nil && response.StatusCode == http.StatusOK && string(content) == "hello!"
	if !whole && response.StatusCode != http.StatusLengthRequired {
		c.Got(fmt.Sprintf("status %s with %q", response.Status, content), expected, section)
	}
}

func checkStuck(e *exam.Exam) {
	s := e.Start()
	others := s.Company()
	stuck := s.OpenSome(exam.StuckConns)
	content := frame.Pattern(300)
	data := stuck[0].Encode(content)
	cut := func(i int) int { return 1 + i*(len(data)-2)/exam.StuckConns } // all over the request
	for i, c := range stuck {
		c.Write("a part of a request", data[:cut(i)])
	}
	e.Situation = fmt.Sprintf("%d connections stand in the middle of a request", exam.StuckConns)
	others.Served()
	e.Situation = ""
	for i, c := range stuck {
		c.Write("the rest of a request that had stood still", data[cut(i):])
		c.ExpectEcho(content)
	}
}

func checkLimit(e *exam.Exam) {
	const limit = 10_000
	s := e.Start(func(o *contract.Options) { o.MaxMessage = limit })
	say(s.Open(), frame.Pattern(limit))
	c := s.Open()
	c.Write(fmt.Sprintf("a POST of %d bytes under --max-message %d", limit+1, limit), append(exam.Post(limit+1).Bytes(), frame.Pattern(limit+1)...))
	c.ExpectRefusal("RFC 9110 section 15.5.14")
	c = s.Open()
	c.Write("a POST that says it has 2^40 bytes", exam.Post(1<<40).Bytes())
	c.ExpectRefusal("RFC 9110 section 15.5.14")
	s.Open().RoundTrip()
}
