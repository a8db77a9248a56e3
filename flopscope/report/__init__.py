"""Reports: the rows and tables of what a model costs."""

from flopscope.report.advice import Advice as Advice
from flopscope.report.compare import Comparison as Comparison
from flopscope.report.doctor import Diagnosis as Diagnosis
from flopscope.report.explain import Explanation as Explanation
from flopscope.report.explain_number import NumberExplanation as NumberExplanation
from flopscope.report.report import By as By
from flopscope.report.report import Report as Report
from flopscope.report.rows import KindRow as KindRow
from flopscope.report.rows import ModuleRow as ModuleRow
from flopscope.report.rows import OpRow as OpRow
from flopscope.report.text import TableFormat as TableFormat
from flopscope.report.why import Why as Why
