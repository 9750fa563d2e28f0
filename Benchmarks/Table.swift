import Foundation

/// One figure of ours beside a peer's, or beside the limit we set ourselves.
struct Row: Encodable {
  /// What was measured.
  var name: String
  var unit: String
  /// All rounds; the figure is their median.
  var ours: [Double]
  var theirs: [Double]
  /// Who they are: a program, or `limit`.
  var peer: String
  /// The largest ratio of our figure to theirs that we accept (the smallest where more is better); `nil` where the
  /// row only tells.
  var goal: Double?
  var isMoreBetter = false

  var ourFigure: Double { median(ours) }
  var theirFigure: Double { median(theirs) }
  var ratio: Double { ourFigure / theirFigure }

  private enum Key: String, CodingKey {
    case name, unit, ours, theirs, peer, goal, moreIsBetter, ratio, ourRounds, theirRounds
  }

  func encode(to encoder: any Encoder) throws {
    var container = encoder.container(keyedBy: Key.self)
    try container.encode(name, forKey: .name)
    try container.encode(unit, forKey: .unit)
    try container.encode(peer, forKey: .peer)
    try container.encode(ourFigure, forKey: .ours)
    try container.encode(theirFigure, forKey: .theirs)
    try container.encode(ratio, forKey: .ratio)
    try container.encodeIfPresent(goal, forKey: .goal)
    if isMoreBetter { try container.encode(true, forKey: .moreIsBetter) }
    try container.encode(ours, forKey: .ourRounds)
    try container.encode(theirs, forKey: .theirRounds)
  }
}

/// The middle one, or the mean of the two in the middle.
private func median(_ values: [Double]) -> Double {
  let sorted = values.sorted()
  guard let upper = sorted.dropFirst(sorted.count / 2).first else { return .nan }
  guard sorted.count.isMultiple(of: 2), let lower = sorted.dropFirst(sorted.count / 2 - 1).first else { return upper }
  return (lower + upper) / 2
}

/// The rows as a table for a person.
func table(_ rows: [Row]) -> String {
  let head = ["", "Perseid", "peer", "ratio", "goal", "peer is"]
  let cells = rows.map { row in
    [
      "\(row.name), \(row.unit)", rounded(row.ourFigure), rounded(row.theirFigure),
      rounded(row.ratio),
      row.goal.map { String(format: row.isMoreBetter ? ">= %.2f" : "<= %.2f", $0) } ?? "", row.peer,
    ]
  }
  let widths = head.indices.map { column in ([head] + cells).map { $0[column].count }.max() ?? 0 }
  func line(_ row: [String]) -> String {
    row.indices.map { column in
      let padding = String(repeating: " ", count: widths[column] - row[column].count)
      // Words to the left, figures to the right.
      return column == 0 || column == head.count - 1 ? row[column] + padding : padding + row[column]
    }.joined(separator: "  ")
  }
  let rule = widths.map { String(repeating: "-", count: $0) }
  return ([line(head), line(rule)] + cells.map(line)).joined(separator: "\n")
}

/// A figure as the table and the lines before it show it.
func rounded(_ value: Double) -> String { String(format: "%.2f", value) }
