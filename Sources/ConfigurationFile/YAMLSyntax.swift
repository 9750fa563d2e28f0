package import Yams

extension YAMLSection {
  /// The tree of a file's text, `nil` where it is empty.
  ///
  /// - Throws: `ConfigurationError`.
  package static func compose(_ text: String, file: String) throws -> Yams.Node? {
    do {
      return try Yams.compose(yaml: text)
    } catch let error as YamlError {
      throw syntaxError(error, file: file)
    }
  }

  private static func syntaxError(_ error: YamlError, file: String) -> ConfigurationError {
    func made(_ line: Int?, _ problem: String) -> ConfigurationError {
      ConfigurationError(file: file, line: line, key: nil, message: "it is not YAML: \(problem).")
    }
    return switch error {
    case .scanner(_, let problem, let mark, _), .parser(_, let problem, let mark, _),
      .composer(_, let problem, let mark, _):
      made(mark.line, problem)
    case .reader(let problem, let offset, _, let yaml):
      made(offset.map { yaml.utf8.prefix($0).count { $0 == UInt8(ascii: "\n") } + 1 }, problem)
    case .duplicatedKeysInMapping(let duplicates, let context):
      ConfigurationError(
        file: file, line: context.mark.line, key: duplicates.first,
        message: "found twice in one mapping, allowed is once.")
    default: made(nil, "\(error)")
    }
  }
}
