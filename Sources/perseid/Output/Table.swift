/// Rows under headings, each column as wide as its widest value.
struct Table {
  private let headings: [String]
  private let rightAligned: Set<Int>
  private var rows: [[String]] = []

  /// - Parameter rightAligned: Columns of numbers.
  init(_ headings: [String], rightAligned: Set<Int> = []) {
    self.headings = headings
    self.rightAligned = rightAligned
  }

  /// Values that are missing show as `-`. A row has as many values as there are headings.
  mutating func add(_ values: [String?]) {
    rows.append(values.map { value in value.flatMap { $0.isEmpty ? nil : $0 } ?? "-" })
  }

  var text: String {
    var widths = headings.map(\.count)
    for row in rows {
      for (column, value) in row.enumerated() { widths[column] = max(widths[column], value.count) }
    }
    return ([headings] + rows).map { line($0, widths) + "\n" }.joined()
  }

  private func line(_ values: [String], _ widths: [Int]) -> String {
    var line = ""
    for (column, value) in values.enumerated() {
      let padding = String(repeating: " ", count: widths[column] - value.count)
      line += rightAligned.contains(column) ? padding + value : value + padding
      if column < values.count - 1 { line += "  " }
    }
    while line.last == " " { line.removeLast() }
    return line
  }
}

/// Names and values of one thing, one below the other.
struct Sheet {
  private var lines: [(name: String, value: String)] = []

  mutating func add(_ name: String, _ value: String?) {
    lines.append((name, value.flatMap { $0.isEmpty ? nil : $0 } ?? "-"))
  }

  var text: String {
    let width = lines.map(\.name.count).max() ?? 0
    return lines.map { $0.name + String(repeating: " ", count: width - $0.name.count) + "  " + $0.value + "\n" }
      .joined()
  }
}
