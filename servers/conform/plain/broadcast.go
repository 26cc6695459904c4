package plain

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"connbench/servers/conform/exam"
	"connbench/servers/conform/frame"
	"connbench/servers/contract"
)

// BroadcastChecks are those of HTTP servers that can send each message to all connections.
var BroadcastChecks = slices.Concat(events.checks(), polls.checks())

// way is how connections of HTTP hear what others publish.
type way struct {
	name    string
	request exam.Request // the first of a connection that is to hear
	// begin reads the answer to it.
	begin func(h *hearer)
	// ask asks for the next message, if that is needed, and read reads it.
	ask  func(h *hearer)
	read func(h *hearer) ([]byte, error)
	// unread is the title of the check of how much a server keeps for one that does not read or ask.
	unread      string
	checkUnread func(w way, e *exam.Exam)
}

// hearer is a connection that hears.
type hearer struct {
	*exam.Conn
	way    way
	stream *bufio.Reader // of events
	number string        // entity tag of the last message, of one that polls
	asked  bool          // for the next message
}

var events = way{
	name:    "events",
	request: exam.Get().And("Accept: " + contract.EventStream),
	begin: func(h *hearer) {
		const expected, section = "status 200 with a stream of events in chunks, its head at once", "WHATWG HTML section 9.2, RFC 9112 section 7.1"
		response, err := h.Response()
		switch {
		case err != nil:
			h.Got(exam.Describe(err), expected, section)
		case response.StatusCode != http.StatusOK:
			h.Got("status "+response.Status, expected, section)
		case !strings.HasPrefix(response.Header.Get("Content-Type"), contract.EventStream):
			h.Got(exam.QuoteField(response.Header, "Content-Type"), expected, section)
		case !slices.Contains(response.TransferEncoding, "chunked"):
			h.Got("no chunks", expected, section)
		}
		h.stream = bufio.NewReader(response.Body)
	},
	ask:         func(*hearer) {},
	read:        readEvent,
	unread:      "lets nobody wait for a stream that is not read, and drops it before it has cost much memory",
	checkUnread: checkEventsUnread,
}

var polls = way{
	name:    "polls",
	request: exam.Get(),
	begin: func(h *hearer) {
		content, err := readNumbered(h)
		if err != nil || len(content) > 0 {
			h.Got(describe(content, err), "status 200 without content, and the number of the newest message as ETag", pollSection)
		}
	},
	ask: func(h *hearer) {
		if !h.asked {
			h.Write("a poll for the message behind "+h.number, exam.Get().And("Prefer: wait=3600").And("If-None-Match: "+h.number).Bytes())
			h.asked = true
		}
	},
	read:        readNumbered,
	unread:      "keeps no more than its bound for polls that may come",
	checkUnread: checkPollsUnread,
}

const pollSection = "RFC 7240 section 4.3, RFC 9110 section 8.8.3 and the contract"

// readEvent reads up to the end of an event with data.
func readEvent(h *hearer) ([]byte, error) {
	for {
		line, err := h.stream.ReadBytes('\n')
		if err != nil {
			return nil, err
		}
		data, is := bytes.CutPrefix(bytes.TrimRight(line, "\r\n"), []byte("data: "))
		if !is {
			continue
		}
		if line, err = h.stream.ReadBytes('\n'); err == nil && len(bytes.TrimRight(line, "\r\n")) > 0 {
			err = fmt.Errorf("an event with a line %q", line)
		}
		return data, err
	}
}

// number is the entity tag of a message.
var number = regexp.MustCompile(`^"[0-9]+"$`)

// readNumbered reads the answer to a GET.
func readNumbered(h *hearer) ([]byte, error) {
	h.asked = false
	response, err := h.Response()
	if err != nil {
		return nil, err
	}
	content, err := io.ReadAll(response.Body)
	h.number = response.Header.Get("ETag")
	switch {
	case err != nil:
		return nil, err
	case response.StatusCode != http.StatusOK:
		return nil, errors.New("status " + response.Status)
	case !number.MatchString(h.number):
		return nil, fmt.Errorf("ETag %q, which is not a number in quotes", h.number)
	}
	return content, nil
}

// hearers opens n connections that hear.
func (w way) hearers(s *exam.Server, n int) (list []*hearer) {
	for range n {
		list = append(list, w.listen(s.Connect()))
	}
	return list
}

// listen has a connection hear.
func (w way) listen(c *exam.Conn) *hearer {
	c.Write("a request that is to hear", w.request.Bytes())
	return w.begun(c)
}

// begun is a connection whose request to hear has been sent.
func (w way) begun(c *exam.Conn) *hearer {
	h := &hearer{Conn: c, way: w}
	w.begin(h)
	return h
}

// expect reads a message and fails unless it is content.
func (h *hearer) expect(content []byte) {
	h.way.ask(h)
	got, err := h.way.read(h)
	if err != nil || !bytes.Equal(got, content) {
		h.Got(describe(got, err), fmt.Sprintf("what another connection has posted, %s", quote(content)), "the contract")
	}
}

func describe(content []byte, err error) string {
	if err != nil {
		return exam.Describe(err)
	}
	return quote(content)
}

// quote quotes the beginning of content.
func quote(content []byte) string {
	const most = 40
	if len(content) <= most {
		return fmt.Sprintf("%q", content)
	}
	return fmt.Sprintf("%q and so on, %d bytes", content[:most], len(content))
}

// checks are those of one way to hear.
func (w way) checks() []exam.Case {
	name := "broadcast-" + w.name
	return []exam.Case{
		{Name: name, Section: exam.Broadcasts, Title: "sends the content of each POST once to every connection that hears by " + w.name + ", and back to its sender", Run: w.checkAll},
		{Name: name + "-order", Section: exam.Broadcasts, Title: "sends the content of each sender in its order by " + w.name, Run: w.checkOrder},
		{Name: name + "-members", Section: exam.Broadcasts, Title: "sends by " + w.name + " nothing from before a request to hear, and goes on when others have left", Run: w.checkMembers},
		{Name: name + "-unread", Section: exam.Broadcasts, Title: w.unread, Run: func(e *exam.Exam) { w.checkUnread(w, e) }},
	}
}

// waiting is how long polls are given to reach the server before something is posted, so that they
// wait there: a server must answer them either way.
const waiting = 50 * time.Millisecond

func (w way) checkAll(e *exam.Exam) {
	s := e.StartBroadcast()
	sender := s.Open()
	hearers := w.hearers(s, 4)
	limit := s.Options.MaxMessage
	for _, content := range [][]byte{
		[]byte("hello"), []byte("Grüße an alle"), []byte("again"), []byte("again"), frame.Pattern(min(limit, 60<<10)), []byte("the end"),
	} {
		for _, h := range hearers {
			w.ask(h)
		}
		e.Pause(waiting)
		// Neither of these is published.
		sender.Write("a POST without content", exam.Post(0).Bytes())
		sender.ExpectEcho(nil)
		refused := s.Open()
		refused.Write("a POST above the limit", append(exam.Post(limit+1).Bytes(), frame.Pattern(limit+1)...))
		refused.ExpectRefusal("RFC 9110 section 15.5.14")
		say(sender, content)
		for i, h := range hearers {
			e.Situation = fmt.Sprintf("a connection posts %s, and number %d of 4 hears by %s", quote(content), i+1, w.name)
			h.expect(content)
		}
		e.Situation = ""
	}
}

func (w way) checkOrder(e *exam.Exam) {
	const each = 100
	s := e.StartBroadcast()
	hearers := w.hearers(s, 3)
	senders := s.OpenSome(2)
	content := func(i, k int) []byte { return fmt.Appendf(nil, "%d %d", i, k) }
	for i, c := range senders {
		var burst []byte
		for k := range each {
			burst = append(burst, c.Encode(content(i, k))...)
		}
		c.Write(fmt.Sprintf("%d POSTs at once", each), burst)
	}
	for i, c := range senders {
		for k := range each {
			c.ExpectEcho(content(i, k))
		}
	}
	for number, h := range hearers {
		e.Situation = fmt.Sprintf("two connections have posted %d times each, and number %d of 3 hears by %s", each, number+1, w.name)
		var next [2]int
		for range 2 * each {
			w.ask(h)
			got, err := w.read(h)
			i := 0
			for i < len(next) && (next[i] == each || !bytes.Equal(got, content(i, next[i]))) {
				i++
			}
			if err != nil || i == len(next) {
				h.Got(fmt.Sprintf("%s after %d and %d of them", describe(got, err), next[0], next[1]), "the content of each in its order", "the contract")
			}
			next[i]++
		}
	}
}

func (w way) checkMembers(e *exam.Exam) {
	s := e.StartBroadcast()
	sender := s.Open()
	hearers := w.hearers(s, 4)
	request := w.request.Bytes()
	late := s.Connect()
	late.Write("a part of a request to hear", request[:len(request)/2])
	post := func(text string, to ...*hearer) {
		say(sender, []byte(text))
		for _, h := range to {
			h.expect([]byte(text))
		}
	}
	post("before", hearers...)
	e.Pause(waiting) // its event loop may have to hear of the message first
	late.Write("the rest of a request to hear", request[len(request)/2:])
	newcomer := w.begun(late)
	post("all", append(hearers[:4:4], newcomer)...)
	for _, h := range hearers {
		w.ask(h)
	}
	e.Pause(waiting)
	hearers[1].Reset()
	hearers[2].TCP.Close()
	hearers[3].CloseWrite()
	s.AwaitConnections(3)
	e.Situation = "three of five connections that hear have ended"
	for i := range 10 {
		post(fmt.Sprintf("after %d", i), hearers[0], newcomer)
	}
	s.AwaitConnections(3)
}

// large is message number i of the largest size, or 64 KiB.
func large(s *exam.Server, i int) []byte {
	content := frame.Pattern(min(s.Options.MaxMessage, 64<<10))
	copy(content, fmt.Sprintf("%08d", i))
	return content
}

func checkEventsUnread(w way, e *exam.Exam) {
	s := e.StartBroadcast()
	w.listen(s.ConnectSmall())
	readers := w.hearers(s, 2)
	sender := s.Open()
	s.AwaitConnections(4)
	limit := exam.Hoard + exam.KernelBuffers()/2 // one way only
	before := s.ResidentBytes()
	e.Situation = "a stream is not read"
	sent := 0
	for i := 0; sent < limit; i++ {
		content := large(s, i)
		say(sender, content)
		for _, h := range readers {
			h.expect(content)
		}
		sent += len(content)
	}
	e.Situation = fmt.Sprintf("a stream is not read on which %d MiB are due, and resident memory has grown from %d MiB to %d MiB", sent>>20, before>>20, s.ResidentBytes()>>20)
	s.AwaitConnections(3)
}

func checkPollsUnread(w way, e *exam.Exam) {
	s := e.StartBroadcast()
	behind := w.listen(s.Connect())
	sender := s.Open()
	const kept = 1000 // at least, of small ones
	for i := range kept {
		say(sender, fmt.Appendf(nil, "%08d", i))
	}
	e.Situation = fmt.Sprintf("%d small messages were posted after a connection had its last answer", kept)
	before := behind.numbered()
	behind.expect([]byte("00000000"))
	sent := 0
	posted := kept
	for ; sent <= s.Options.MaxMessage+16<<20; posted++ {
		content := large(s, posted)
		say(sender, content)
		sent += len(content)
	}
	e.Situation = fmt.Sprintf("%d MiB were posted after a connection had its last answer", sent>>20)
	for last := 0; last < posted-1; { // some may go before they are polled for
		w.ask(behind)
		got, err := w.read(behind)
		i := 0
		if len(got) >= 8 {
			i, _ = strconv.Atoi(string(got[:8]))
		}
		switch {
		case err != nil || i <= max(last, kept) || i >= posted || !bytes.Equal(got, large(s, i)):
			behind.Got(describe(got, err), "a later message than the first of these, since a server keeps 16 MiB and one message at most", "the contract")
		case behind.numbered()-before != i+1:
			behind.Got(fmt.Sprintf("message %d of the connection as number %d", i+1, behind.numbered()-before), "a number that says how many were missed", "the contract")
		}
		last = i
	}
}

// numbered is the number of the last answer.
func (h *hearer) numbered() int {
	n, _ := strconv.Atoi(strings.Trim(h.number, `"`)) // which readNumbered has checked
	return n
}
