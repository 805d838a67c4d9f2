//===- text.cpp - Text of parameters implemented in Rust ------------------===//

#include "bridge/Bridge.h"
#include "llvm/ADT/SmallString.h"
#include "llvm/ADT/StringExtras.h"

using namespace mlir;

extern "C" bool ceria_text_parse(const char *kind, size_t kindLength,
                                 const char *text, size_t textLength,
                                 void *words, void (*push)(void *, int64_t),
                                 void *message, ceria::CeriaPushText fail);
extern "C" void ceria_text_print(const char *kind, size_t kindLength,
                                 const int64_t *words, size_t count, void *text,
                                 ceria::CeriaPushText push);

namespace {

/// Appends the next token if it may belong to a parameter at this nesting
/// depth. Fails without a diagnostic when it may not.
class TokenCollector {
public:
  explicit TokenCollector(AsmParser &parser) : parser(parser) {}

  bool next() {
    return word() || number() || quoted() || bracket() || punctuation();
  }

  std::string text;

private:
  bool append(StringRef token) {
    text += token;
    text += ' ';
    return true;
  }

  bool word() {
    StringRef keyword;
    return succeeded(parser.parseOptionalKeyword(&keyword)) && append(keyword);
  }

  bool number() {
    APInt value;
    OptionalParseResult result = parser.parseOptionalInteger(value);
    if (!result.has_value() || failed(*result))
      return false;
    SmallString<32> digits;
    value.toString(digits, 10, /*Signed=*/true);
    return append(digits);
  }

  bool quoted() {
    std::string value;
    if (failed(parser.parseOptionalString(&value)))
      return false;
    std::string escaped = "\"";
    for (char c : value) {
      if (c == '"' || c == '\\')
        escaped += '\\';
      escaped += c;
    }
    return append(escaped + "\"");
  }

  bool bracket() {
    if (succeeded(parser.parseOptionalLParen()))
      return ++depth, append("(");
    if (succeeded(parser.parseOptionalLSquare()))
      return ++depth, append("[");
    if (succeeded(parser.parseOptionalLess()))
      return ++depth, append("<");
    if (depth == 0)
      return false;
    if (succeeded(parser.parseOptionalRParen()))
      return --depth, append(")");
    if (succeeded(parser.parseOptionalRSquare()))
      return --depth, append("]");
    if (succeeded(parser.parseOptionalGreater()))
      return --depth, append(">");
    return succeeded(parser.parseOptionalComma()) && append(",");
  }

  bool punctuation() {
    if (succeeded(parser.parseOptionalColon()))
      return append(":");
    if (succeeded(parser.parseOptionalEqual()))
      return append("=");
    if (succeeded(parser.parseOptionalStar())) {
      // The lexer has no token for a power, `**`.
      if (StringRef(text).ends_with("* "))
        text.pop_back();
      return append("*");
    }
    if (succeeded(parser.parseOptionalPlus()))
      return append("+");
    if (succeeded(parser.parseOptionalMinus()))
      return append("-");
    if (succeeded(parser.parseOptionalQuestion()))
      return append("?");
    return succeeded(parser.parseOptionalVerticalBar()) && append("|");
  }

  AsmParser &parser;
  unsigned depth = 0;
};

} // namespace

FailureOr<SmallVector<int64_t>> ceria::parseRust(AsmParser &parser,
                                                 StringRef kind) {
  SMLoc start = parser.getCurrentLocation();
  TokenCollector tokens(parser);
  // The whole text of an attribute may contain commas at its outermost level.
  bool whole = kind == "params" || kind == "layout";
  while (tokens.next() || (whole && succeeded(parser.parseOptionalComma()) &&
                           (tokens.text += ", ", true)))
    ;
  SmallVector<int64_t> words;
  std::string message;
  bool ok = ceria_text_parse(
      kind.data(), kind.size(), tokens.text.data(), tokens.text.size(), &words,
      [](void *words, int64_t word) {
        static_cast<SmallVector<int64_t> *>(words)->push_back(word);
      },
      &message, pushText);
  if (!ok) {
    parser.emitError(start) << message;
    return failure();
  }
  return words;
}

void ceria::printRust(AsmPrinter &printer, StringRef kind,
                      ArrayRef<int64_t> words) {
  std::string text;
  ceria_text_print(kind.data(), kind.size(), words.data(), words.size(), &text,
                   pushText);
  printer << text;
}

FailureOr<SmallVector<int64_t>> ceria::parseShape(AsmParser &parser) {
  if (succeeded(parser.parseOptionalKeyword("scalar")))
    return SmallVector<int64_t>();
  SmallVector<int64_t> shape;
  if (failed(parser.parseDimensionList(shape, /*allowDynamic=*/false,
                                       /*withTrailingX=*/false)))
    return failure();
  return shape;
}

void ceria::printShape(AsmPrinter &printer, ArrayRef<int64_t> shape) {
  if (shape.empty())
    printer << "scalar";
  else
    llvm::interleave(shape, printer.getStream(), "x");
}

ParseResult ceria::parseSignatureAndBody(OpAsmParser &parser, Region &body) {
  SmallVector<OpAsmParser::Argument> arguments;
  if (parser.parseArgumentList(arguments, OpAsmParser::Delimiter::Paren,
                               /*allowType=*/true))
    return failure();
  if (parser.parseRegion(body, arguments))
    return failure();
  if (body.empty())
    body.emplaceBlock();
  return success();
}

void ceria::printSignatureAndBody(OpAsmPrinter &printer, Operation *,
                                  Region &body) {
  printer << '(';
  llvm::interleaveComma(body.getArguments(), printer, [&](BlockArgument arg) {
    printer.printRegionArgument(arg);
  });
  printer << ") ";
  printer.printRegion(body, /*printEntryBlockArgs=*/false);
}

void ceria::pushFoldedValue(void *results, MlirValue value) {
  static_cast<SmallVectorImpl<OpFoldResult> *>(results)->push_back(
      unwrap(value));
}

void ceria::pushFoldedAttribute(void *results, MlirAttribute attribute) {
  static_cast<SmallVectorImpl<OpFoldResult> *>(results)->push_back(
      unwrap(attribute));
}

void ceria::pushType(void *types, MlirType type) {
  static_cast<SmallVectorImpl<Type> *>(types)->push_back(unwrap(type));
}

void ceria::pushText(void *text, const char *data, size_t length) {
  static_cast<std::string *>(text)->append(data, length);
}

LogicalResult ceria::reportUnless(bool ok,
                                  function_ref<InFlightDiagnostic()> emitError,
                                  const std::string &message) {
  if (!ok)
    return emitError() << message;
  return success();
}
