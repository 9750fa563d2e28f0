/// A list for people: rows of words under headings, as many in each row as there are headings, empty where there is
/// nothing to say. Where somebody looks at ten thousand nodes, it is written and read in a fraction of the time that
/// whole nodes take.
package struct TableView: Codable, Sendable {
  package var headings: [String]
  package var rows: [[String]]

  package init(_ headings: [String], rows: [[String]] = []) {
    self.headings = headings
    self.rows = rows
  }
}
