import Mustache

/// A text with mustache tags that is made into a node's file. Parsed once; values stand in it as they are, since
/// what comes out is no HTML.
package struct ModuleTemplate: Sendable {
  /// `hosts: templates/hosts`, for messages.
  package let name: String
  private let text: String
  private let template: MustacheTemplate

  /// Bytes of what a template is rendered to.
  package static let outputLimit = 16 << 20

  /// - Throws: `ApplianceError` with the line.
  package init(name: String, text: String) throws {
    self.name = name
    self.text = text
    do {
      template = try MustacheTemplate(string: "{{% CONTENT_TYPE:TEXT}}\n" + text)
    } catch let error as MustacheTemplate.ParserError {
      throw ApplianceError(
        .refused,
        "The template \(name), line \(max(1, error.context.lineNumber - 1)), is not mustache: "
          + "\(Self.words(error.error)). Correct it there, and import the module again.")
    } catch {
      throw ApplianceError(.refused, "The template \(name) is not mustache: \(error).")
    }
    if let tag = Self.unsupported(text) {
      throw ApplianceError(
        .refused,
        "The template \(name), line \(Self.line(of: tag, in: text)), has '\(tag)': templates do not hold other "
          + "templates or change their delimiters.")
    }
  }

  /// - Throws: `ApplianceError` that names template, line, variable and node.
  package func render(_ context: TemplateContext) throws -> [UInt8] {
    let text = template.render(context)
    if let name = context.missing.first {
      let variable = name.split(separator: ".").last.map(String.init) ?? name
      let line = lines(naming: name).map { ", line \($0)," } ?? ""
      let remedy =
        context.isDeclared(variable) || NodeKeys.isVariable(variable)
        ? "Set it: perseid node set var.\(variable) VALUE \(context.node.name), or for its group."
        : "Correct the template, and import the module again."
      throw ApplianceError(
        .refused,
        "The template \(self.name)\(line) needs '\(name)', which is not there for node \(context.node.name). \(remedy)")
    }
    guard text.utf8.count <= Self.outputLimit else {
      throw ApplianceError(.refused, "The template \(name) makes more than \(Self.outputLimit) bytes.")
    }
    return Array(text.utf8)
  }

  private func lines(naming name: String) -> Int? {
    for (index, line) in text.split(separator: "\n", omittingEmptySubsequences: false).enumerated() {
      for tag in line.split(separator: "{{").dropFirst(line.hasPrefix("{{") ? 0 : 1) {
        let inner = tag.prefix { $0 != "}" }.drop { "#^/&{".contains($0) || $0.isWhitespace }
        let word = inner.prefix { !$0.isWhitespace }
        if word == name || word.hasSuffix("." + name) { return index + 1 }
      }
    }
    return nil
  }

  private static func unsupported(_ text: String) -> String? {
    ["{{>", "{{<", "{{=", "{{$", "{{%"].first { text.contains($0) }
  }

  private static func line(of word: String, in text: String) -> Int {
    let lines = text.split(separator: "\n", omittingEmptySubsequences: false)
    return (lines.firstIndex { $0.contains(word) } ?? 0) + 1
  }

  private static func words(_ error: any Error) -> String {
    switch error as? MustacheTemplate.Error {
    case .sectionCloseNameIncorrect: "a section is closed by another name than it was opened by"
    case .unfinishedName: "a tag is not closed, or its name cannot be"
    case .expectedSectionEnd: "a section is not closed"
    default: "\(error)"
    }
  }
}
