package draw

import "fmt"

// SceneWidth is what the tests of whole runs look at.
const SceneWidth = sceneWidth

// Outside lists the shapes of a chart that do not lie within it.
func Outside(c Chart) (problems []string) {
	s := c.layOut()
	for _, g := range s.groups {
		for _, shape := range g.shapes {
			for _, p := range shape.points {
				if !(p.x >= 0 && p.x <= s.width && p.y >= 0 && p.y <= s.height) {
					problems = append(problems, fmt.Sprintf("%+v is outside %v×%v", shape, s.width, s.height))
				}
			}
			if shape.anchor == "start" && shape.points[0].x+textWidth(shape.text, shape.size) > s.width {
				problems = append(problems, fmt.Sprintf("%q runs out of the drawing", shape.text))
			}
		}
	}
	return problems
}
