"""Reports: the rows and tables of what a model costs."""

from flopscope.report.compare import Comparison as Comparison
from flopscope.report.report import By as By
from flopscope.report.report import Report as Report
from flopscope.report.rows import KindRow as KindRow
from flopscope.report.rows import ModuleRow as ModuleRow
from flopscope.report.rows import OpRow as OpRow
from flopscope.report.text import TableFormat as TableFormat
